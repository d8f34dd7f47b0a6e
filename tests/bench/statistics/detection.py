"""Objects and detections for tests."""

from pathlib import Path

import numpy as np

from bench.statistics.average_precision import Detections, Truth

GOLDEN = Path(__file__).parents[2] / "golden" / "coco_eval.npz"

Pairs = tuple[list[Truth], list[Detections]]


def recorded(dtype: type = np.float32) -> tuple[Pairs, np.ndarray]:
    """Return the golden images, and their 12 numbers in percent."""
    with np.load(GOLDEN) as file:
        z = dict(file)
    truths, detections = [], []
    for image in range(1, int(z["n_images"]) + 1):
        of, found = z["gt_image_id"] == image, z["det_image_id"] == image
        columns = z["gt_bbox_xywh"], z["gt_category_id"], z["gt_iscrowd"] > 0, z["gt_area"]
        truths.append(Truth(*(column[of] for column in columns)))
        boxes, scores = z["det_bbox_xywh"].astype(dtype), z["det_score"].astype(dtype)
        detections.append(Detections(boxes[found], scores[found], z["det_category_id"][found]))
    return (truths, detections), 100 * z["stats12"]


def drawn(seed: int, images: int, scores: int | None = None) -> Pairs:
    """Draw images of 0 to 8 objects of 3 categories, some of them crowds, and detections.

    scores: how many different ones there are; None where no two are equal.
    """
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(images):
        boxes, classes = _boxes(rng, rng.integers(9))
        truths.append(
            Truth(boxes, classes, rng.random(len(boxes)) < 0.15, boxes[:, 2] * boxes[:, 3])
        )
        near = rng.random(len(boxes)) < 0.8
        moved = boxes[near] + rng.normal(0, 2, (near.sum(), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], 1)
        again = rng.random(len(moved)) < 0.3
        more, others = _boxes(rng, rng.integers(4))
        found = np.concatenate([moved, moved[again] + 1, more]).astype(np.float32)
        kinds = np.concatenate([classes[near], classes[near][again], others])
        values = rng.random(len(found)) if scores is None else rng.integers(scores, size=len(found))
        detections.append(Detections(found, values.astype(np.float32), kinds))
    return truths, detections


def _boxes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.c_[rng.uniform(0, 80, (n, 2)), rng.uniform(8, 60, (n, 2))]
    return boxes, rng.choice([1, 5, 90], n).astype(np.int64)
