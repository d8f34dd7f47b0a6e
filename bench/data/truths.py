"""What is in the images of a set, as part of what the set is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.data.listing import fingerprint_of
from bench.data.segmentations import Segmentations

if TYPE_CHECKING:
    from bench.statistics.boxes import Mask, Truth


def digest_of(truth: "Truth") -> str:
    """Return the sha256 (hex) of the objects of an image, in their order; of masks where known."""
    columns = truth.boxes, truth.classes, truth.crowd, truth.areas
    parts: list[object] = [column.tolist() for column in columns]
    if truth.masks is not None:
        parts.append(_digest_of_masks(truth.masks))
    return fingerprint_of(parts)


def _digest_of_masks(masks: "Sequence[Mask]") -> str:
    if isinstance(masks, Segmentations):
        return masks.digest()
    return fingerprint_of((list(mask["size"]), mask["counts"].hex()) for mask in masks)
