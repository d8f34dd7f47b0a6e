"""Detectors in the form that everything here takes networks in: one row of numbers an image.

A detector takes a list of images (3, H, W) and returns a list of mappings with `boxes` (n, 4),
left, top, right and bottom in pixels of its input, `scores` (n,) and `labels` (n,), as those of
torchvision do; one that has a number `mask_side` returns `masks` (n, 1, mask_side, mask_side) too,
in 0..1, each of what its box shows. What is quantized, calibrated, counted and compared is a
network that returns a tensor; so a detector is wrapped in one of two modules, whose `detections`
make the mappings of its rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from models.errors import BenchError

Detections = Mapping[str, Tensor]

_MOST = 100  # boxes of an image in a row: as many as COCO counts
_COLUMNS = 6  # a box, its score, its label


class _WithRaw(Protocol):
    def raw(self, images: Tensor) -> Tensor: ...

    def detections(self, outputs: Tensor) -> list[Detections]: ...


class HeadOutputs(nn.Module):
    """A detector up to what its heads say, before boxes are decoded and selected.

    Nothing in it depends on which boxes are found, so that calibration, distillation and compiling
    meet convolutions alone.

    detector: with `raw` from images (N, 3, H, W) to (N, K), and `detections` from there to a list.
    size: of its square input in pixels.
    """

    def __init__(self, detector: nn.Module, size: int) -> None:
        super().__init__()
        self.detector, self.size = detector, size

    def forward(self, images: Tensor) -> Tensor:
        return cast("_WithRaw", self.detector).raw(images)

    def detections(self, outputs: Tensor) -> list[Detections]:
        """Return the detections of each image from its row of `outputs` (N, K)."""
        return cast("_WithRaw", self.detector).detections(outputs)


class FoundBoxes(nn.Module):
    """A whole detector, whose boxes, scores and labels are packed into a row of fixed length.

    For detectors of several stages, in which what a later one sees depends on what an earlier one
    has found. Of an image the 100 boxes with the highest scores are kept, which is as many as COCO
    counts; a row ends in zeros. Behind each box lies its mask, where the detector has masks.

    size: of its square input in pixels.
    """

    def __init__(self, detector: nn.Module, size: int) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        self._side = int(getattr(detector, "mask_side", 0))
        self._columns = _COLUMNS + self._side**2

    def forward(self, images: Tensor) -> Tensor:
        found = checked_detections(self.detector(list(images)), len(images), self._side)
        rows = images.new_zeros(len(images), _MOST, self._columns)
        for row, of_image in zip(rows, found, strict=True):
            order = of_image["scores"].argsort(descending=True, stable=True)[:_MOST]
            row[: len(order), :4] = of_image["boxes"][order]
            row[: len(order), 4] = of_image["scores"][order]
            row[: len(order), 5] = of_image["labels"][order]
            if self._side:
                row[: len(order), _COLUMNS:] = of_image["masks"][order].flatten(1)
        return rows.flatten(1)

    def detections(self, outputs: Tensor) -> list[Detections]:
        """Return the detections of each image from its row of `outputs`; a score of 0 is none.

        Of a detector with masks each has `masks` (n, mask_side, mask_side).
        """
        found: list[Detections] = []
        for row in outputs.unflatten(1, (_MOST, self._columns)):
            kept = row[row[:, 4] > 0]
            boxes = {"boxes": kept[:, :4], "scores": kept[:, 4], "labels": kept[:, 5].long()}
            if self._side:
                boxes["masks"] = kept[:, _COLUMNS:].unflatten(1, (self._side, self._side))
            found.append(boxes)
        return found


def rows_of(detector: nn.Module, size: int) -> "HeadOutputs | FoundBoxes":
    """Return `detector` as a network that returns rows; size: of its square input in pixels."""
    has_raw = callable(getattr(detector, "raw", None))
    return HeadOutputs(detector, size) if has_raw else FoundBoxes(detector, size)


def is_detector(network: nn.Module) -> bool:
    """Return whether `network` is what `rows_of` returned."""
    return isinstance(network, HeadOutputs | FoundBoxes)


def checked_detections(found: Any, images: int, mask_side: int = 0) -> Sequence[Detections]:
    """Return what a detector has returned for that many images.

    mask_side: of the masks that it says it has, in their pixels; 0 for none.

    Raises BenchError unless it is one mapping an image with boxes, scores and labels, and with
    masks of that size where there are to be some.
    """
    keys = ("boxes", "scores", "labels")
    right = isinstance(found, list | tuple) and len(found) == images
    if right and all(isinstance(each, Mapping) and {*keys} <= each.keys() for each in found):
        if mask_side:
            _check_masks(found, mask_side)
        return cast("Sequence[Detections]", found)
    what = f"{type(found).__name__} of {len(found)}" if right else type(found).__name__
    if isinstance(found, Tensor):
        what = f"a tensor {tuple(found.shape)}"
    raise BenchError(
        f"the network returns {what} for {images} images, and a detector returns a list of one "
        "mapping an image with boxes, scores and labels; name a network that detects"
    )


def _check_masks(found: Sequence[Detections], side: int) -> None:
    """Raise BenchError unless each box has a mask (1, side, side)."""
    for each in found:
        wanted = (len(each["boxes"]), 1, side, side)
        if "masks" not in each or tuple(each["masks"].shape) != wanted:
            what = f"masks {tuple(each['masks'].shape)}" if "masks" in each else "no masks"
            raise BenchError(
                f"the network says mask_side={side} and returns {what} of {wanted[0]} boxes; "
                f"return {wanted}, one of what each box shows, or take mask_side away"
            )


def size_of(network: nn.Module) -> int:
    """Return the side of the square input of what `rows_of` returned, in pixels."""
    return int(cast("HeadOutputs", network).size)


def detections_of(network: nn.Module, outputs: Tensor) -> list[Detections]:
    """Return the detections of each image from the rows that `network`, a `rows_of`, returned."""
    with torch.inference_mode():
        return cast("HeadOutputs", network).detections(outputs)
