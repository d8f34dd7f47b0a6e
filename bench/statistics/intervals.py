"""Intervals and spreads of accuracies, in percent.

Two quantiles are calculated here, because importing scipy.stats takes longer than making a table.
"""

from collections.abc import Sequence
from functools import cache
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval (Wilson 1927) of correct / total, in percent."""
    z, share = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), correct / total
    shrink = 1 + z * z / total
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low = 0.0 if correct == 0 else 100 * (centre - half) / shrink
    return low, 100.0 if correct == total else 100 * (centre + half) / shrink


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation; no deviation for a single value."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), spread


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of three or more seeds, by Student's t distribution.

    It covers what seeds change and nothing else: not the choice of evaluation images. It takes
    seeds as normally distributed, and has no width where all values are equal.

    Raises ValueError for fewer than three values.
    """
    if len(values) < 3:
        raise ValueError(f"a t-interval needs three values or more, there are {len(values)}")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = t_quantile(len(values) - 1) * spread / sqrt(len(values))
    return mean - half, mean + half


@cache
def t_quantile(freedom: int) -> float:
    """Return the t that a variable of Student's distribution stays within with 95 %."""
    low, high = 0.0, 16.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_within(middle, freedom) < CONFIDENCE else (low, middle)
    return middle


def t_within(t: float, freedom: int) -> float:
    """Return P(|T| <= t), by the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle, odd = atan(t / sqrt(freedom)), freedom % 2
    term = total = cos(angle) if odd else 1.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= (k - 1) / k * cos(angle) ** 2
        total += term
    if not odd:
        return sin(angle) * total
    return 2 / pi * (angle + sin(angle) * (total if freedom > 1 else 0.0))
