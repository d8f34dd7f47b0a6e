"""Which detections are right, image by image, and the mAP of any multiset of these images.

The rules are those of COCO's evaluation (pycocotools, `COCOeval.evaluateImg` and `accumulate`) for
boxes of all sizes. What is right in an image does not depend on other images, so it is found once;
only the order of scores and the counts are anew in each resample.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.statistics.boxes import Detections, Truth
from bench.statistics.coco import LARGEST

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps (intersection over union) from which on a detection is right."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is averaged."""
MOST = 100
"""Detections of an image that count in each category."""

_VALUES = 2**22  # of the largest array


class _Category(NamedTuple):
    """One category of all images; detections by falling score, among equal ones by image.

    objects: (images,) how many objects there are to be found. images: (n,) of each detection.
    right: (n, thresholds) bool. ignored: the same: neither right nor wrong.
    """

    objects: np.ndarray
    images: np.ndarray
    right: np.ndarray
    ignored: np.ndarray


Matches = Sequence[_Category]


class _Boxes(NamedTuple):
    """Boxes of all images in a row, and their groups: one an image and category, in order.

    flags: whether each is ignored (objects), or its score (detections).
    """

    groups: np.ndarray
    boxes: np.ndarray
    flags: np.ndarray
    crowd: np.ndarray


def match(truths: Sequence[Truth], detections: Sequence[Detections]) -> Matches:
    """Return which of `detections` are right, for each category that there are objects of.

    Both are of the same images, in the same order.
    """
    known = np.unique(np.concatenate([truth.classes for truth in truths]))
    objects, found = _objects(truths, known), _found(detections, known)
    right = np.zeros((len(found.groups), len(THRESHOLDS)), dtype=bool)
    ignored = np.repeat(_is_out_of_range(found.boxes)[:, None], len(THRESHOLDS), axis=1)
    for chunk in _chunks(found.groups, objects.groups):
        _match_groups(chunk, found, objects, right, ignored)

    def category(place: int) -> _Category:
        first, behind = place * len(truths), (place + 1) * len(truths)
        here = slice(*np.searchsorted(found.groups, [first, behind]))
        order = np.argsort(-found.flags[here], kind="stable")
        wanted = slice(*np.searchsorted(objects.groups, [first, behind]))
        counted = objects.groups[wanted][~objects.flags[wanted]] - first
        return _Category(
            objects=np.bincount(counted, minlength=len(truths)),
            images=(found.groups[here] - first)[order],
            right=right[here][order],
            ignored=ignored[here][order],
        )

    return [category(place) for place in range(len(known))]


def mean_average_precision(matches: Matches, times: np.ndarray) -> np.ndarray:
    """Return the mAP, in percent, of the multisets of images that have each image `times` times.

    times: (multisets, images) whole numbers. Returns (multisets,) float64; NaN where there is no
    object. Among equal scores the copies of a detection count next to each other.
    """
    totals, counted = np.zeros(len(times)), np.zeros(len(times), dtype=np.int64)
    for category in matches:
        rows = max(1, _VALUES // max(1, len(category.images)))
        for start in range(0, len(times), rows):
            part = slice(start, start + rows)
            precision, exists = _average_precision(category, times[part])
            totals[part] += np.where(exists, precision, 0.0)
            counted[part] += exists
    return np.divide(100 * totals, counted, out=np.full(len(times), np.nan), where=counted > 0)


def _average_precision(category: _Category, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over thresholds for each row of `times`, and whether there are objects."""
    objects = times @ category.objects
    weights = times[:, category.images]
    everything = weights.cumsum(axis=1)
    total = np.zeros(len(times))
    for right, ignored in zip(category.right.T, category.ignored.T, strict=True):
        # Precision is highest where something right comes: the other places need no look.
        places = np.flatnonzero(right & ~ignored)
        if not len(places):
            continue
        hits = weights[:, places].cumsum(axis=1)
        counted = everything[:, places]
        if ignored.any():
            counted = np.where(ignored, 0, weights).cumsum(axis=1)[:, places]
        precision = hits / (counted + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, hits / np.maximum(objects, 1)[:, None], side="right")
        total += (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return total / len(THRESHOLDS), objects > 0


def _objects(truths: Sequence[Truth], known: np.ndarray) -> _Boxes:
    """Return all objects; in each group those that count come first."""
    images = np.repeat(np.arange(len(truths)), [len(truth.classes) for truth in truths])
    classes = np.concatenate([truth.classes for truth in truths])
    crowd = np.concatenate([truth.crowd for truth in truths]).astype(bool)
    areas = np.concatenate([truth.areas for truth in truths]).astype(np.float64)
    boxes = np.concatenate([truth.boxes for truth in truths]).astype(np.float64).reshape(-1, 4)
    ignored = crowd | (areas < 0) | (areas > LARGEST)
    groups = np.searchsorted(known, classes) * len(truths) + images
    order = np.lexsort((ignored, groups))
    return _Boxes(groups[order], boxes[order], ignored[order], crowd[order])


def _found(detections: Sequence[Detections], known: np.ndarray) -> _Boxes:
    """Return those detections of all images that count, in each group by falling score."""
    images = np.repeat(np.arange(len(detections)), [len(found.scores) for found in detections])
    classes = np.concatenate([found.classes for found in detections])
    scores = np.concatenate([found.scores for found in detections]).astype(np.float64)
    boxes = np.concatenate([f.boxes for f in detections]).astype(np.float64).reshape(-1, 4)
    groups = np.searchsorted(known, classes) * len(detections) + images
    order = np.lexsort((-scores, groups))
    order = order[np.isin(classes[order], known)]
    order = order[_ranks(groups[order]) < MOST]
    none = np.zeros(len(order), dtype=bool)
    return _Boxes(groups[order], boxes[order], scores[order], none)


def _ranks(groups: np.ndarray) -> np.ndarray:
    """Return the place, from 0, of each in its group; `groups` is sorted."""
    _, counts = np.unique(groups, return_counts=True)
    return np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)


class _Chunk(NamedTuple):
    """Groups to be matched at once: where each begins, and how many it has, (groups,) each."""

    found: np.ndarray
    finds: np.ndarray
    objects: np.ndarray
    wanted: np.ndarray


def _chunks(found: np.ndarray, objects: np.ndarray) -> Iterator[_Chunk]:
    """Yield the groups that have both, those of about as many objects together.

    In each chunk the groups with the most detections come first.
    """
    ours, first, finds = np.unique(found, return_index=True, return_counts=True)
    theirs, start, wanted = np.unique(objects, return_index=True, return_counts=True)
    _, one, other = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    whole = _Chunk(first[one], finds[one], start[other], wanted[other])
    size = np.ceil(np.log2(whole.wanted))
    for doubling in np.unique(size):
        here = np.flatnonzero(size == doubling)
        here = here[np.argsort(-whole.finds[here], kind="stable")]
        while len(here):
            each = int(whole.finds[here[0]]) * int(2**doubling)
            part = here[: max(1, _VALUES // (each * len(THRESHOLDS)))]
            yield _Chunk(*(column[part] for column in whole))
            here = here[len(part) :]


def _match_groups(
    chunk: _Chunk, found: _Boxes, objects: _Boxes, right: np.ndarray, ignored: np.ndarray
) -> None:
    """Fill the rows of `right` and `ignored` of the detections of `chunk`.

    The detections of a group choose by falling score: the object that they overlap most, among
    equals the last, and one that is ignored only where there is no other. Each object is taken
    once; a crowd may be taken by any number.
    """
    column = np.arange(chunk.wanted.max())
    places = np.minimum(chunk.objects[:, None] + column, len(objects.groups) - 1)
    exists = column < chunk.wanted[:, None]
    idle, crowd = objects.flags[places] & exists, objects.crowd[places]
    taken = np.zeros((len(places), len(THRESHOLDS), len(column)), dtype=bool)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    for rank in range(int(chunk.finds[0])):
        groups = np.flatnonzero(chunk.finds > rank)
        rows = chunk.found[groups] + rank
        overlap = _overlaps(found.boxes[rows], objects.boxes[places[groups]], crowd[groups])
        free = exists[groups, None] & ~(taken[groups] & ~crowd[groups, None])
        fits = free & (overlap[:, None] >= least)
        proper = fits & ~idle[groups, None]
        fits = np.where(proper.any(axis=2, keepdims=True), proper, fits)
        value = np.where(fits, overlap[:, None], -1.0)[..., ::-1]
        chosen = len(column) - 1 - value.argmax(axis=2)
        group, threshold = np.nonzero(fits.any(axis=2))
        chosen = chosen[group, threshold]
        taken[groups[group], threshold, chosen] = True
        right[rows[group], threshold] = True
        ignored[rows[group], threshold] = idle[groups[group], chosen]


def _overlaps(found: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return intersection over union of one box (g, 4) with m (g, m, 4): (g, m).

    With a crowd it is the share of the detection that lies in it.
    """
    box = found[:, None]
    low = np.maximum(box[..., :2], objects[..., :2])
    high = np.minimum(box[..., :2] + box[..., 2:], objects[..., :2] + objects[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    own = np.prod(box[..., 2:], axis=-1)
    union = np.where(crowd, own, own + np.prod(objects[..., 2:], axis=-1) - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _is_out_of_range(boxes: np.ndarray) -> np.ndarray:
    area = boxes[:, 2] * boxes[:, 3]
    out: np.ndarray = (area < 0) | (area > LARGEST)
    return out
