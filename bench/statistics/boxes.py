"""What is in an image and what a detector says is in it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Mask = Mapping[str, Any]
"""A mask as COCO encodes it: `size` [height, width] and `counts`, compressed run lengths."""


class Detections(NamedTuple):
    """What a detector finds in one image, in any order.

    boxes: (n, 4) float32, left, top, width, height in pixels of the original image. scores: (n,)
    float32. classes: (n,) int64, category ids. masks: n of them, or None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: Sequence[Mask] | None = None


class Truth(NamedTuple):
    """The objects of one image.

    boxes: (n, 4) float, left, top, width, height in pixels. classes: (n,) int64, category ids.
    crowd: (n,) bool: a region of many, which any number of detections may lie in without being
    right or wrong. areas: (n,) float, of the object and not of its box, where that is known.
    masks: n of them, or None.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    masks: Sequence[Mask] | None = None


def check_pairs(truths: Sequence[Truth], detections: Sequence[Detections]) -> None:
    """Raise ValueError when these are not of the same images, or a detection is no number."""
    if len(truths) != len(detections) or not truths:
        raise ValueError(f"cannot pair {len(truths)} images with detections of {len(detections)}")
    for place, found in enumerate(detections):
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            raise ValueError(f"a detection in image {place} has NaN or infinity in box or score")
