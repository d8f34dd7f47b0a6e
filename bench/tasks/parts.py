"""Which images of a set a cell has seen, and what several cells have seen alike."""

from collections.abc import Sequence

import numpy as np

from bench.data.listing import random_order
from bench.statistics.bets import Sample
from bench.tasks.classification import Correctness
from models.errors import BenchError


def placed(items: Correctness, places: np.ndarray, count: int) -> Correctness:
    """Return items of the images at `places` of a set of `count`, in that order, in the set's."""
    seen = np.zeros(count, dtype=bool)
    seen[places] = True
    order = np.argsort(places)
    return _of(items.top1[order], items.top5[order], seen)


def joined(first: Correctness, second: Correctness) -> Correctness:
    """Return the items of two parts of a set, which share no image."""
    assert first.seen is not None
    assert second.seen is not None
    top1, top5 = np.zeros((2, len(first.seen)), dtype=bool)
    for part in (first, second):
        top1[part.seen], top5[part.seen] = part.top1, part.top5
    seen = first.seen | second.seen
    return _of(top1[seen], top5[seen], seen)


def common(cells: Sequence[Correctness]) -> list[Correctness]:
    """Return the items of the images that all of `cells` have seen; as they are where that is all.

    Raises BenchError where they are of sets of several sizes.
    """
    counts = {len(cell.top1) if cell.seen is None else len(cell.seen) for cell in cells}
    masks = [cell.seen for cell in cells if cell.seen is not None]
    if not masks:
        return list(cells)
    if len(counts) > 1:
        raise BenchError(f"cannot pair the images of sets of {sorted(counts)}; measure them again")
    seen = np.logical_and.reduce(masks)
    parts = []
    for cell in cells:
        which = seen if cell.seen is None else seen[cell.seen]
        parts.append(Correctness(cell.top1[which], cell.top5[which], seen))
    return parts


def sample(before: Correctness, now: Correctness) -> Sample:
    """Return the images that a quantized network has seen, in the order in which it saw them.

    before: of the float network, on all images.
    """
    float_right, total = before.top1, len(before.top1)
    seen = np.ones(total, dtype=bool) if now.seen is None else now.seen
    right = np.zeros(total, dtype=bool)
    right[seen] = now.top1
    change = float_right.astype(np.int8) - right
    order = random_order(total)
    order = order[seen[order]]
    return Sample(change[order], float_right[order], int(float_right.sum()), total)


def _of(top1: np.ndarray, top5: np.ndarray, seen: np.ndarray) -> Correctness:
    return Correctness(top1, top5, None if seen.all() else seen)
