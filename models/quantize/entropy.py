"""Thresholds of the least KL divergence, as NVIDIA's calibrator has them."""

from functools import lru_cache

import numpy as np

_BINS = 2048
_TIED = 1e-12  # nats


def entropy_threshold(values: np.ndarray, levels: int) -> float:
    """Return the threshold of `values` (n,) whose size is brought onto `levels` values.

    See `models.quantize.ranges.entropy`; the largest size where nothing is to be merged.
    """
    size = np.abs(values)
    largest = float(size.max())
    if levels >= _BINS or not 0 < largest < np.inf:
        return largest
    # NumPy's bins begin at the smallest value, as NVIDIA's do; a gap before it is part of the grid.
    gap = size.min() * _BINS > largest
    counts, edges = np.histogram(size, bins=_BINS, range=(0, largest) if gap else None)
    counts[0] = counts[1]  # zero is on every grid, and half of what a ReLU gives is zero
    found = divergences(counts.astype(np.float64), levels)
    if np.isinf(found.min()):
        return largest
    ties = np.flatnonzero(found <= found.min() + _TIED)
    return float(edges[levels + ties[-1]])


def divergences(counts: np.ndarray, levels: int) -> np.ndarray:
    """Return KL(P || Q) in nats for thresholds of `levels`, ..., 2,048 bins; inf for no candidate.

    All of them at once, from cumulative sums: with c_i in bin i and m_i the mean count of the
    filled bins of its level, it is sum c_i log(c_i / m_i) / N and a term for the totals of P and Q.
    """
    starts = _starts(levels)
    filled, mass = _cumulative(counts > 0), _cumulative(counts)
    ends = starts[:, -1]
    # What is clipped into an empty bin has no counterpart in Q.
    has_counterpart = (mass[ends] == mass[-1]) | (counts[ends - 1] > 0)
    candidates = np.flatnonzero((filled[ends] >= levels) & has_counterpart)
    starts, ends = starts[candidates], ends[candidates]
    of_levels = np.diff(mass[starts])
    means = of_levels / np.maximum(np.diff(filled[starts]), 1)
    clipped, last = mass[-1] - mass[ends], counts[ends - 1]
    of_p = _cumulative(_xlogy(counts, counts))[ends]
    of_p += _xlogy(last + clipped, last + clipped) - _xlogy(last, last)
    of_q = _xlogy(of_levels, means).sum(1) + _xlogy(clipped, means[:, -1])
    all_of_them = np.full(_BINS + 1 - levels, np.inf)
    all_of_them[candidates] = (of_p - of_q) / mass[-1] + np.log(mass[ends] / mass[-1])
    return all_of_them


@lru_cache(maxsize=4)
def _starts(levels: int) -> np.ndarray:
    """Return the bin at which each level starts and the last ends, a row for each threshold."""
    ends = np.arange(levels, _BINS + 1)[:, None]
    return -(-np.arange(levels + 1) * ends // levels)


def _cumulative(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(values)])


def _xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x log y, 0 where x is 0."""
    return x * np.log(np.where((x > 0) & (y > 0), y, 1))
