"""Two-level factorial designs: what each of several choices changes, from few measurements."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bench.statistics.intervals import CONFIDENCE


class Effect(NamedTuple):
    """What a choice changes on average over the others, in points, with its 95 % interval.

    Images are what is random; other seeds may differ more.
    """

    points: float
    low: float
    high: float


def fold_over(factors: int) -> np.ndarray:
    """Return the levels of a design of resolution IV, (runs, factors) of 0 and 1.

    A Hadamard matrix above its mirror image (Box and Hunter 1961): for up to m factors, m a power
    of 2, there are 2 m runs, and no effect of one choice is mixed up with that of a pair. The
    first run has all at 0.

    Raises ValueError without a factor.
    """
    if factors < 1:
        raise ValueError("a design needs a factor")
    order = 1 << (factors - 1).bit_length()
    signs = np.ones((1, 1), dtype=int)
    while len(signs) < order:
        signs = np.block([[signs, signs], [signs, -signs]])
    runs = np.concatenate([signs, -signs])[:, :factors]
    return (1 - runs) // 2


def main_effects(levels: np.ndarray, correct: np.ndarray) -> list[Effect]:
    """Return the effect of level 1 against level 0 of each factor.

    levels: (runs, factors), balanced. correct: (runs, images), whether each run has an image right.
    """
    z, images = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), correct.shape[1]
    effects = []
    for of_factor in levels.T:
        gains = correct[of_factor == 1].mean(axis=0) - correct[of_factor == 0].mean(axis=0)
        points = 100 * float(gains.mean())
        half = 100 * z * float(gains.std(ddof=1)) / sqrt(images) if images > 1 else 100.0
        effects.append(Effect(points, max(points - half, -100.0), min(points + half, 100.0)))
    return effects


def predicted(levels: np.ndarray, values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return what the values of other level combinations may be.

    Effects that add up, and what the measured ones differ from that by: half of it for each
    combination one level away, a quarter two levels away, as a Gaussian process has it.

    levels: (runs, factors), whose first runs are of a design. values: (runs,).
    of: (combinations, factors).
    """
    columns = np.column_stack([np.ones(len(levels)), levels])
    effects, *_ = np.linalg.lstsq(columns, values, rcond=None)
    left = values - columns @ effects
    weights = np.linalg.solve(_nearness(levels, levels) + 1e-6 * np.eye(len(levels)), left)
    return np.column_stack([np.ones(len(of)), of]) @ effects + _nearness(of, levels) @ weights


def _nearness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return 0.5 ** np.abs(first[:, None] - second[None]).sum(axis=2)
