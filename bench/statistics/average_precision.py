"""COCO's numbers of a detector, and resamples of its mAP."""

from collections.abc import Sequence
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
    objects: list[dict[str, Any]] = []
    for image, truth in enumerate(truths, 1):
        boxes, areas = truth.boxes.tolist(), truth.areas.tolist()
        for place, (box, area) in enumerate(zip(boxes, areas, strict=True)):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image,
                    "category_id": int(truth.classes[place]),
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(truth.crowd[place]),
                    **_mask(truth.masks, place, kind),
                }
            )
    return objects


def _found(detections: Sequence[Detections], kind: str) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    for image, found in enumerate(detections, 1):
        areas = found.boxes[:, 2].astype(np.float64) * found.boxes[:, 3]
        columns = (column.tolist() for column in (found.boxes, areas, found.scores, found.classes))
        first = len(objects)
        for box, area, score, category in zip(*columns, strict=True):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                    "score": score,
                }
            )
        if kind == "mask":
            for place, annotation in enumerate(objects[first:]):
                annotation |= _mask(found.masks, place, kind)
                annotation["area"] = _area(annotation["segmentation"])
    return objects


def _mask(masks: Sequence[Mask] | None, place: int, kind: str) -> dict[str, Any]:
    if kind != "mask":
        return {}
    if masks is None:
        raise ValueError("numbers of masks need the masks of all objects and detections")
    return {"segmentation": dict(masks[place])}


def _area(mask: Mask) -> float:
    from faster_coco_eval.core.mask import area

    return float(area(mask))


def _size(truth: Truth) -> dict[str, int]:
    """Return height and width of an image where its masks say them; boxes do not need them."""
    if not truth.masks:
        return {"height": 0, "width": 0}
    height, width = truth.masks[0]["size"]
    return {"height": int(height), "width": int(width)}


def _say_nothing(*_: object) -> None:
    pass
