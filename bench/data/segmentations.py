"""Segmentations of COCO files: polygons and run lengths, as masks of their image."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from bench.statistics.boxes import Mask
from models.errors import BenchError

Shape = tuple[np.ndarray, ...] | Mask
"""Polygons, each x and y in turn, or what is encoded already."""


class Segmentations(Sequence[Mask]):
    """The masks of the objects of an image, encoded when one is asked for.

    Who rates boxes alone does not wait for 36,000 polygons to be filled.

    shapes: of each object. width, height: of the image in pixels.
    """

    def __init__(self, shapes: Iterable[Shape], width: int, height: int) -> None:
        self._shapes, self._width, self._height = tuple(shapes), width, height

    def __len__(self) -> int:
        return len(self._shapes)

    @overload
    def __getitem__(self, place: int) -> Mask: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Mask]: ...
    def __getitem__(self, place: int | slice) -> Mask | Sequence[Mask]:
        if isinstance(place, slice):
            return Segmentations(self._shapes[place], self._width, self._height)
        shape = self._shapes[place]
        return shape if isinstance(shape, Mapping) else self._filled(shape)

    def digest(self) -> str:
        """Return the sha256 (hex) of what is drawn, and how large the image is."""
        digest = hashlib.sha256(f"{self._width} {self._height}".encode())
        for shape in self._shapes:
            parts = [shape["counts"]] if isinstance(shape, Mapping) else [p.data for p in shape]
            digest.update(f"|{len(parts)}".encode())
            for part in parts:
                digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()

    def _filled(self, polygons: tuple[np.ndarray, ...]) -> Mask:
        from faster_coco_eval.core.mask import segmToRle

        lists = [polygon.tolist() for polygon in polygons]
        mask: Mask = segmToRle(lists, self._width, self._height)
        return mask


def has_shape(annotation: Mapping[str, Any]) -> bool:
    """Return whether an annotation says more than a box."""
    return bool(annotation.get("segmentation"))


def shape_of(annotation: Mapping[str, Any], width: int, height: int, which: str) -> Shape:
    """Return the shape of an annotation of an image of that size.

    As COCO has it: a list of polygons, or `counts`, run lengths by column, of `size` [height,
    width], as a list or compressed. A polygon of fewer than three corners has nothing inside.
    which: the annotation, in words. Raises BenchError for what is neither.
    """
    shape = annotation["segmentation"]
    if isinstance(shape, Mapping):
        return _encoded(shape, width, height, which)
    if isinstance(shape, list) and all(map(_is_polygon, shape)):
        return tuple(np.array(polygon, dtype=np.float64) for polygon in shape)
    raise BenchError(
        f"{which} has a segmentation that is no list of polygons, each a list of x and y in turn "
        "in pixels, and no run lengths; correct it"
    )


def _is_polygon(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) % 2 == 0
        and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    )


def _encoded(runs: Mapping[str, Any], width: int, height: int, which: str) -> Mask:
    from faster_coco_eval.core.mask import decode, frPyObjects

    size, counts = runs.get("size"), runs.get("counts")
    if size != [height, width]:
        raise BenchError(
            f"{which} has run lengths of the size {size}, and [height, width] of its image is "
            f"[{height}, {width}]; correct it"
        )
    try:
        if isinstance(counts, list):
            mask: Mask = frPyObjects({"size": size, "counts": counts}, height, width)
        else:
            mask = {"size": size, "counts": str(counts).encode()}
        decode(mask)  # which looks whether the lengths make as many pixels
    except (ValueError, RuntimeError, TypeError) as error:
        raise BenchError(
            f"{which} has run lengths that are not those of {width} x {height} pixels; correct it"
        ) from error
    return mask
