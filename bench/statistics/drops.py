"""What quantization costs in accuracy, paired: both networks saw the same images."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from bench.statistics.intervals import t_quantile
from bench.statistics.significance import bootstrap_of_counts

_NEARLY_NORMAL = 200  # degrees of freedom; more hardly change a quantile


class Flips(NamedTuple):
    """Images of `total` on which quantization changed the outcome.

    lost: right in float, wrong quantized. gained: the other way round.
    """

    lost: int
    gained: int
    total: int


class Drop(NamedTuple):
    """Float minus quantized top-1 in points, with its 95 % interval."""

    points: float
    low: float
    high: float


def paired_drop(seeds: Sequence[Flips]) -> Drop:
    """Return the drop of one cell a seed, all on the same images.

    Of one seed the interval is the paired bootstrap's over images. Of several the variance is that
    of an image, as large as if all seeds flipped the same ones, plus that of the mean over seeds;
    Student's t, with the degrees of freedom of Welch and Satterthwaite, rounded down.

    Raises ValueError without a seed, or where seeds have other numbers of images.
    """
    images = {flips.total for flips in seeds}
    if len(images) != 1:
        raise ValueError(f"cannot take the drop of {len(seeds)} seeds on {sorted(images)} images")
    total = images.pop()
    drops = [100 * (flips.lost - flips.gained) / total for flips in seeds]
    points = float(np.mean(drops))
    if len(seeds) == 1:
        return Drop(points, *bootstrap_of_counts(seeds[0].lost, seeds[0].gained, total))
    of_images = 100**2 * float(np.mean([_variance(flips) for flips in seeds])) / total
    of_seeds = float(np.var(drops, ddof=1)) / len(seeds)
    variance = of_images + of_seeds
    if variance == 0:
        return Drop(points, points, points)
    parts = of_images**2 / max(total - 1, 1) + of_seeds**2 / (len(seeds) - 1)
    freedom = max(1, min(int(variance**2 / parts), _NEARLY_NORMAL))
    half = t_quantile(freedom) * sqrt(variance)
    return Drop(points, points - half, points + half)


def mean_drop(seeds: Sequence[Drop]) -> Drop:
    """Return the mean of the drops of one cell a seed, each with an interval over its own images.

    Of several the interval reaches as far as theirs do on average, as if all seeds erred alike, and
    as far as Student's over the seeds: the two are added in squares.
    """
    points = float(np.mean([seed.points for seed in seeds]))
    if len(seeds) == 1:
        return seeds[0]
    of_seeds = float(np.var([seed.points for seed in seeds], ddof=1)) / len(seeds)
    over_seeds = t_quantile(len(seeds) - 1) ** 2 * of_seeds
    below = points - float(np.mean([seed.low for seed in seeds]))
    above = float(np.mean([seed.high for seed in seeds])) - points
    return Drop(points, points - sqrt(below**2 + over_seeds), points + sqrt(above**2 + over_seeds))


def _variance(flips: Flips) -> float:
    """Return the sample variance of what an image adds: 1 lost, -1 gained, 0 else."""
    share = (flips.lost - flips.gained) / flips.total
    spread = (flips.lost + flips.gained) / flips.total - share**2
    return spread * flips.total / max(flips.total - 1, 1)
