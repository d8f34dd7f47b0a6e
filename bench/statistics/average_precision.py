"""COCO's numbers of a detector, and resamples of its mAP."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from bench.statistics.boxes import Detections, Mask, Truth, check_pairs
from bench.statistics.coco import NUMBERS
from bench.statistics.matches import match, mean_average_precision

__all__ = ["NUMBERS", "Detections", "Mask", "Truth", "bootstrap", "coco_numbers"]

_KINDS = {"box": "bbox", "mask": "segm"}


def coco_numbers(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    kind: Literal["box", "mask"] = "box",
) -> dict[str, float | None]:
    """Return the 12 numbers by which COCO rates a detector, in percent, 0..100, by their names.

    By faster-coco-eval, whose figures are those of pycocotools. None where there is no object to
    be found, say none of the size.

    truths, detections: one an image, of the same images in the same order. Of an image the 100
    detections with the highest scores count in each category.
    kind: whether boxes or masks have to overlap; masks need those of both.

    Raises ValueError when they are not of the same images, or a box or score is not finite.
    """
    # Takes a third of a second, and few commands want it.
    from faster_coco_eval.core.coco import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    check_pairs(truths, detections)
    known = np.unique(np.concatenate([truth.classes for truth in truths]))
    if not len(known):
        return dict.fromkeys(NUMBERS)
    with _without_collections():
        header = {
            "images": [{"id": place, **_size(truth)} for place, truth in enumerate(truths, 1)],
            "categories": [{"id": int(number), "name": str(number)} for number in known],
        }
        sides = []
        for annotations in (_objects(truths, kind), _found(detections, kind)):
            side = COCO()
            side.dataset = {**header, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluator = COCOeval_faster(*sides, _KINDS[kind], print_function=_say_nothing)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    values = [float(value) for value in evaluator.stats[: len(NUMBERS)]]
    return {
        name: 100 * value if value >= 0 else None  # -1 says that there is nothing
        for name, value in zip(NUMBERS, values, strict=True)
    }


def bootstrap(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    seed: int,
    resamples: int = 1000,
) -> np.ndarray:
    """Return the box mAP, in percent, of resamples of the images: (resamples,) float64.

    A resample is as many images as there are, drawn with replacement; one that has no object at all
    has NaN. The same `seed` and number of images draw the same resamples, so that the differences
    of two results are those of paired ones.

    truths, detections: as of `coco_numbers`, with the same errors.
    """
    check_pairs(truths, detections)
    images = len(truths)
    draws = np.random.default_rng(seed).multinomial(images, [1 / images] * images, size=resamples)
    return mean_average_precision(match(truths, detections), draws)


def _objects(truths: Sequence[Truth], kind: str) -> list[dict[str, Any]]:
    areas = np.concatenate([truth.areas for truth in truths]).tolist()
    crowd = np.concatenate([truth.crowd for truth in truths]).astype(int).tolist()
    objects = _annotations(truths)
    for annotation, area, several in zip(objects, areas, crowd, strict=True):
        annotation["area"], annotation["iscrowd"] = area, several
    if kind == "mask":
        for annotation, mask in zip(objects, _masks(truths), strict=True):
            annotation["segmentation"] = mask
    return objects


def _found(detections: Sequence[Detections], kind: str) -> list[dict[str, Any]]:
    scores = np.concatenate([found.scores for found in detections]).tolist()
    objects = _annotations(detections)
    for annotation, score in zip(objects, scores, strict=True):
        _, _, width, height = annotation["bbox"]
        annotation["area"], annotation["iscrowd"] = width * height, 0
        annotation["score"] = score
    if kind == "mask":
        for annotation, mask in zip(objects, _masks(detections), strict=True):
            annotation["segmentation"], annotation["area"] = mask, _area(mask)
    return objects


def _annotations(images: Sequence[Truth] | Sequence[Detections]) -> list[dict[str, Any]]:
    """Return where all boxes of all images are, and what: numbers of Python, made all at once."""
    counts = [len(image.classes) for image in images]
    places = np.repeat(np.arange(1, len(images) + 1), counts).tolist()
    classes = np.concatenate([image.classes for image in images]).tolist()
    boxes = np.concatenate([image.boxes.reshape(-1, 4) for image in images]).tolist()
    return [
        {"id": number, "image_id": place, "category_id": category, "bbox": box}
        for number, (place, category, box) in enumerate(zip(places, classes, boxes, strict=True), 1)
    ]


def _masks(images: Sequence[Truth] | Sequence[Detections]) -> list[dict[str, Any]]:
    if any(image.masks is None for image in images):
        raise ValueError("numbers of masks need the masks of all objects and detections")
    return [dict(mask) for image in images for mask in image.masks or ()]


def _area(mask: Mask) -> float:
    from faster_coco_eval.core.mask import area

    return float(area(mask))


def _size(truth: Truth) -> dict[str, int]:
    """Return height and width of an image where its masks say them; boxes do not need them."""
    if not truth.masks:
        return {"height": 0, "width": 0}
    height, width = truth.masks[0]["size"]
    return {"height": int(height), "width": int(width)}


@contextmanager
def _without_collections() -> Iterator[None]:
    """Look for no garbage meanwhile: half a million dictionaries come, none in a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _say_nothing(*_: object) -> None:
    pass
