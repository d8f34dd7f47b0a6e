"""Differences of numbers that are no mean over images, from resamples of the images.

Numbers are in percent, differences in points (of percent), always first minus second. What is
compared was measured on the same images, and its resamples are of the same draws.
"""

from collections.abc import Sequence

import numpy as np

from bench.statistics.significance import ALPHA, Difference, t_test


def percentile_interval(value: float, resamples: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of `value`: percentiles of `resamples` (n,) about their mean.

    They are taken about the mean because resamples of an average precision are too high on average:
    an image that is drawn twice is found twice. NaN among them does not count.
    """
    low, high = np.nanpercentile(resamples, [50 * ALPHA, 100 - 50 * ALPHA])
    shift = value - float(np.nanmean(resamples))
    return float(low) + shift, float(high) + shift


def compare_resampled(
    values: tuple[float, float], first: np.ndarray, second: np.ndarray, images: int
) -> Difference:
    """Compare two cells whose numbers are `values`: percentile interval, and p of a t-test.

    The t-test takes the deviation of the resampled differences for that of the difference, with one
    degree of freedom less than there are images: a share of resamples could not be below one in
    their number, which corrections for many pairs need.

    first, second: (resamples,), the same draws of images in both.
    """
    gaps, points = first - second, values[0] - values[1]
    low, high = percentile_interval(points, gaps)
    p = t_test(points, [(float(np.nanvar(gaps, ddof=1)), images - 1)]).p
    return Difference(points, low, high, p)


def compare_resampled_seeds(
    values: tuple[Sequence[float], Sequence[float]],
    first: np.ndarray,
    second: np.ndarray,
    images: int,
) -> Difference:
    """Compare two methods over seeds, with two seeds or more each.

    As `compare_seeds`: a t-test in which both images and seeds are random. The variance is that of
    the resampled difference of means, plus that of each method's number over its seeds.

    values: of each method, a number a seed. first, second: (seeds, resamples), the same draws.
    """
    gaps = first.mean(axis=0) - second.mean(axis=0)
    parts = [(float(np.nanvar(gaps, ddof=1)), images - 1)]
    for side in values:
        parts.append((float(np.var(side, ddof=1)) / len(side), len(side) - 1))
    return t_test(float(np.mean(values[0]) - np.mean(values[1])), parts)
