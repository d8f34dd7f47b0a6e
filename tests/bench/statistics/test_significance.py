"""Tests and intervals of differences: by hand, against scipy, and simulated."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.statistics.significance import (
    compare_cells,
    compare_seeds,
    discordant,
    holm,
    mcnemar,
    paired_bootstrap,
    smallest_paired_difference,
    smallest_unpaired_difference,
)


def cells(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Make two bitmaps from how many images both, one or none of them has right."""
    pairs = [(True, True)] * both + [(True, False)] * first
    pairs += [(False, True)] * second + [(False, False)] * neither
    array = np.array(pairs)
    return array[:, 0], array[:, 1]


def test_mcnemar_by_hand() -> None:
    # 1 against 9 of 10: 2 (1 + 10) / 2^10.
    assert mcnemar(*cells(5, 1, 9, 5)) == pytest.approx(22 / 1024)
    assert mcnemar(*cells(5, 9, 1, 5)) == pytest.approx(22 / 1024)
    assert mcnemar(*cells(0, 3, 0, 0)) == pytest.approx(2 / 8)
    assert mcnemar(*cells(100, 4, 4, 0)) == 1.0
    assert mcnemar(*cells(7, 0, 0, 3)) == 1.0


def test_images_that_both_have_right_do_not_count() -> None:
    assert mcnemar(*cells(0, 5, 20, 0)) == mcnemar(*cells(900, 5, 20, 75))
    assert discordant(*cells(9, 5, 2, 7)) == (5, 2)


def test_other_images_are_not_paired() -> None:
    with pytest.raises(ValueError, match="cannot pair"):
        discordant(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="cannot pair"):
        mcnemar(np.ones(0, bool), np.ones(0, bool))
    with pytest.raises(ValueError, match="cannot compare"):
        compare_seeds(np.ones((1, 9), bool), np.ones((2, 9), bool))


def test_the_bootstrap_is_the_one_of_scipy() -> None:
    first, second = cells(120, 25, 10, 45)
    ours = paired_bootstrap(first, second)
    theirs = stats.bootstrap(
        (first.astype(float), second.astype(float)),
        lambda a, b, axis: 100 * (a - b).mean(axis=axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.5)
    assert paired_bootstrap(second, first) == (-ours[1], -ours[0])
    assert paired_bootstrap(first, first) == (0.0, 0.0)


def test_the_bootstrap_is_that_of_all_resamples_by_hand() -> None:
    # Of two images one is won: the sum of a resample is 0, 1, 2 with chances 1/4, 1/2, 1/4.
    assert paired_bootstrap(*cells(1, 1, 0, 0)) == (0.0, 100.0)
    # Of a hundred, six are won: binomial, P(at most 1) = 0.0152, at most 2 = 0.0566; at least 11
    # has 0.0376, at least 12 has 0.0168.
    assert paired_bootstrap(*cells(94, 6, 0, 0)) == (2.0, 11.0)
    # The interval of the normal approximation, and images in any order.
    first, second = cells(30_000, 9_000, 8_000, 3_000)
    order = np.random.default_rng(0).permutation(len(first))
    low, high = paired_bootstrap(first[order], second[order])
    assert (low, high) == paired_bootstrap(first, second)
    half = 1.959964 * math.sqrt(17_000 / 50_000 - 0.02**2) / math.sqrt(50_000)
    assert (low, high) == pytest.approx((2 - 100 * half, 2 + 100 * half), abs=0.004)


def test_compare_cells_by_hand() -> None:
    found = compare_cells(*cells(120, 25, 10, 45))
    assert found.points == 7.5
    # Normal approximation: 1.96 sqrt(35 / 200 - 0.075^2) / sqrt(200) = 5.7 points on each side.
    assert (found.low, found.high) == pytest.approx((1.8, 13.2), abs=0.6)
    assert found.p == pytest.approx(stats.binomtest(25, 35).pvalue)


def test_compare_seeds_by_hand() -> None:
    # Two seeds, four images; means per image (1, 1/2, 1, 1/2) and (0, 0, 1/2, 1/2).
    first = np.array([[1, 1, 1, 0], [1, 0, 1, 1]], bool)
    second = np.array([[0, 0, 1, 0], [0, 0, 0, 1]], bool)
    found = compare_seeds(first, second)
    assert found.points == 50.0
    # Gaps 1, 1/2, 1/2, 0 have the variance 1/6; top-1 does not vary over seeds: 1/6/4, 3 free.
    half = stats.t.ppf(0.975, 3) * math.sqrt(1 / 24) * 100
    assert (found.low, found.high) == pytest.approx((50 - half, 50 + half))
    assert found.p == pytest.approx(stats.ttest_1samp([1, 0.5, 0.5, 0], 0).pvalue)


def test_spread_over_seeds_widens() -> None:
    rng = np.random.default_rng(0)
    steady = rng.random((3, 1000)) < 0.8
    erratic = rng.random((3, 1000)) < np.array([[0.2], [0.6], [0.9]])
    found = compare_seeds(steady, erratic)
    assert found.points > 15
    assert found.p > 0.1
    # With 2 degrees of freedom: 4.30 x 35 / sqrt(3) points.
    assert found.high - found.points == pytest.approx(87, abs=6)


def test_equal_cells_do_not_differ() -> None:
    same = np.random.default_rng(0).random((3, 50)) < 0.5
    assert compare_seeds(same, same).p == 1.0
    assert compare_seeds(same, same[[1, 2, 0]]).points == 0.0
    everything = np.ones((2, 50), bool)
    assert compare_seeds(everything, everything) == (0.0, 0.0, 0.0, 1.0)
    assert compare_seeds(everything, ~everything) == (100.0, 100.0, 100.0, 0.0)
    assert compare_cells(same[0], same[0]) == (0.0, 0.0, 0.0, 1.0)


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 (no less than the one before), 0.04 x 1 (likewise).
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, 0.9, 0.8]) == pytest.approx([0.03, 1.0, 1.0])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_smallest_unpaired_difference_by_hand() -> None:
    # (1.96 + 0.84) sqrt(2 x 0.25 / 1000) = 6.26 points; 100 times the images, a tenth.
    assert smallest_unpaired_difference(1000, 50) == pytest.approx(6.264, abs=0.001)
    assert smallest_unpaired_difference(100_000, 50) == pytest.approx(0.6264, abs=0.0001)
    assert smallest_unpaired_difference(1000, 100) == 0.0


@pytest.mark.thorough
def test_smallest_paired_difference_is_found_with_a_power_of_80_percent() -> None:
    images, share = 1000, 10.0
    smallest = smallest_paired_difference(images, share)
    assert smallest == pytest.approx(2.798, abs=0.001)
    # Connor's formula for the number of images, with that difference.
    d = smallest / 100
    needed = ((1.959964 * math.sqrt(0.1) + 0.841621 * math.sqrt(0.1 - d * d)) / d) ** 2
    assert needed == pytest.approx(images, rel=1e-6)
    rng = np.random.default_rng(0)
    chances = [(0.1 + d) / 2, (0.1 - d) / 2, 0.9]
    draws = rng.multinomial(images, chances, size=2000)
    found = [stats.binomtest(int(a), int(a + b)).pvalue < 0.05 for a, b, _ in draws if a + b]
    # The exact test finds somewhat less than the approximation.
    assert np.mean(found) == pytest.approx(0.78, abs=0.04)


def test_too_few_discordant_images_resolve_nothing() -> None:
    assert smallest_paired_difference(1000, 0.3) is None
    assert smallest_paired_difference(1000, 0.0) is None
    resolved = smallest_paired_difference(1000, 2.0)
    assert resolved is not None and 0 < resolved < 2.0


def bitmaps(rng: np.random.Generator, ease: np.ndarray, shift: float, seeds: int) -> np.ndarray:
    """Draw correctness (repetitions, seeds, images): easy images, lucky seeds, and chance."""
    repetitions = len(ease)
    luck = rng.normal(0, 0.4, (repetitions, seeds, 1))
    chance = rng.logistic(0, 0.5, (repetitions, seeds, ease.shape[-1]))
    return ease[:, None] + shift + luck + chance > 0


def test_intervals_and_p_values_keep_their_word() -> None:
    """Simulated: new images and, for methods, new seeds each time."""
    rng = np.random.default_rng(0)
    repetitions, images, seeds = 300, 400, 3
    many = rng.normal(1, 2, (40, 100_000))
    truth = 100 * (bitmaps(rng, many, 0.5, 1).mean() - bitmaps(rng, many, 0.0, 1).mean())
    ease = rng.normal(1, 2, (repetitions, images))
    first, second, equal = (bitmaps(rng, ease, shift, seeds) for shift in (0.5, 0.0, 0.0))

    found = [compare_seeds(a, b) for a, b in zip(first, second, strict=True)]
    covered = np.mean([d.low <= truth <= d.high for d in found])
    assert 0.94 <= covered <= 1.0
    false = [compare_seeds(a, b).p < 0.05 for a, b in zip(second, equal, strict=True)]
    assert np.mean(false) <= 0.06

    # One seed: what is estimated is the difference of these two networks.
    ease = rng.normal(1, 2, (repetitions, images))
    chance = rng.logistic(0, 0.5, (3, repetitions, images))
    pairs = list(zip(ease + 0.5 + chance[0] > 0, ease + chance[1] > 0, strict=True))
    truth = 100 * float(np.mean([a.mean() - b.mean() for a, b in pairs]))
    cells = [compare_cells(a, b) for a, b in pairs]
    assert 0.91 <= np.mean([d.low <= truth <= d.high for d in cells]) <= 0.99
    same = [mcnemar(b, c > 0) for (_, b), c in zip(pairs, ease + chance[2], strict=True)]
    assert np.mean(np.array(same) < 0.05) <= 0.06
