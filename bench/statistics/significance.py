"""Which differences of accuracy are more than noise.

Accuracies are in percent, their differences in points (of percent), always first minus second.
Correctness is a boolean array with one value an image; what is compared was measured on the same
images, in the same order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.statistics.intervals import CONFIDENCE

ALPHA = 1 - CONFIDENCE
POWER = 0.8


class Difference(NamedTuple):
    """A difference in points, its 95 % interval, and the p-value of there being none."""

    points: float
    low: float
    high: float
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of the exact McNemar test (McNemar 1947).

    Only images on which the two differ count: without a difference each is a fair coin.
    """
    from scipy.stats import binomtest

    wins, losses = discordant(first, second)
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def discordant(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """Return on how many images only `first` is right, and on how many only `second` is.

    Raises ValueError when they are not of the same images.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"cannot pair {first.shape} images with {second.shape}")
    return int((first & ~second).sum()), int((second & ~first).sum())


def paired_bootstrap(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of the difference, over all resamples of the images."""
    return bootstrap_of_counts(*discordant(first, second), len(first))


def bootstrap_of_counts(wins: int, losses: int, images: int) -> tuple[float, float]:
    """Return the same of as many `images`, of which only the first or only the second is right on
    `wins` and `losses`.

    An image adds 1, -1 or 0 to the difference, and a resample adds as many of them as there are
    images. How often each sum comes up is calculated, by a Fourier transform, instead of counted
    in resamples that are drawn: a few thousand of these would move the second digit.
    """
    sums = np.arange(-images, images + 1)
    turn = np.exp(2j * np.pi * sums / len(sums))
    one = (images - wins - losses + wins * turn + losses / turn) / images
    # Frequencies as `fft` orders them, so that sums of resamples come in that order too.
    chances = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(one**images)).real / len(sums))
    low = sums[np.searchsorted(chances.cumsum(), ALPHA / 2)]
    high = sums[-1 - np.searchsorted(chances[::-1].cumsum(), ALPHA / 2)]
    return 100 * float(low) / images, 100 * float(high) / images


def compare_cells(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare two cells, both (images,): bootstrap interval and McNemar's p.

    The images are what is random; other seeds may differ more.
    """
    wins, losses = discordant(first, second)
    low, high = paired_bootstrap(first, second)
    return Difference(100 * (wins - losses) / len(first), low, high, mcnemar(first, second))


def compare_seeds(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare two methods over seeds, both (seeds, images) with two seeds or more.

    A t-test in which both images and seeds are random: the variance of the difference is that of
    the images' mean differences plus that of each method's top-1 over its seeds, with the degrees
    of freedom of Welch and Satterthwaite. What is random in an image and a seed together is in
    both terms, so the interval is rather too wide than too narrow.
    """
    if first.shape[1:] != second.shape[1:] or min(*first.shape, *second.shape) < 2:
        raise ValueError(f"cannot compare {first.shape} with {second.shape} (seeds, images)")
    gaps = first.mean(axis=0) - second.mean(axis=0)
    parts = [(gaps.var(ddof=1) / len(gaps), len(gaps) - 1)]
    for side in (first, second):
        parts.append((side.mean(axis=1).var(ddof=1) / len(side), len(side) - 1))
    # Of the counts, so that equal accuracies differ by exactly 0.
    points = 100 * (int(first.sum()) / first.size - int(second.sum()) / second.size)
    return t_test(points, [(100**2 * variance, freedom) for variance, freedom in parts])


def t_test(points: float, parts: Sequence[tuple[float, float]]) -> Difference:
    """Return the t-test of a difference of `points` being none, after Welch and Satterthwaite.

    parts: the independent terms of its variance, each with its degrees of freedom.
    """
    from scipy.stats import t

    variance = float(sum(part for part, _ in parts))
    if variance == 0:
        return Difference(points, points, points, float(points == 0))
    error = variance**0.5
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    half = float(t.ppf(1 - ALPHA / 2, freedom)) * error
    p = float(2 * t.sf(abs(points) / error, freedom))
    return Difference(points, points - half, points + half, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for there being many (Holm 1979), in the given order."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def smallest_paired_difference(images: int, discordant: float) -> float | None:
    """Return the smallest difference, in points, that a paired test of `images` images resolves.

    discordant: share of the images, in percent, on which the two differ. Resolves: is significant
    at 95 % with a probability of 80 % (normal approximation; Connor 1987). None where that takes
    more than all discordant images can make up.
    """
    sure, power = _quantiles()
    share = discordant / 100
    spread = max(images - sure**2 + power**2, 0.0) ** 0.5
    smallest = share**0.5 * (sure * images**0.5 + power * spread) / (images + power**2)
    return 100 * smallest if smallest < share else None


def smallest_unpaired_difference(images: int, top1: float) -> float:
    """Return the same for two networks near `top1` (percent), on `images` images of its own each.

    The usual normal approximation, with the variance at `top1` for both.
    """
    share = top1 / 100
    return 100 * sum(_quantiles()) * (2 * share * (1 - share) / images) ** 0.5


def _quantiles() -> tuple[float, float]:
    from scipy.stats import norm

    return float(norm.ppf(1 - ALPHA / 2)), float(norm.ppf(POWER))
