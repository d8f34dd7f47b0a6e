"""Intervals and tests from resamples; a mean over images is known without, and must come out so."""

import numpy as np
import pytest

from bench.statistics.resamples import (
    compare_resampled,
    compare_resampled_seeds,
    percentile_interval,
)
from bench.statistics.significance import compare_seeds

IMAGES, RESAMPLES = 400, 4000


def draws() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.multinomial(IMAGES, [1 / IMAGES] * IMAGES, size=RESAMPLES) / IMAGES


def test_an_interval_leaves_a_fortieth_on_each_side() -> None:
    ends = pytest.approx((25.0, 975.0))
    assert percentile_interval(500.0, np.arange(1001.0)) == ends
    assert percentile_interval(500.0, np.append(np.arange(1001.0), np.nan)) == ends


def test_resamples_that_are_too_high_on_average_do_not_move_an_interval() -> None:
    assert percentile_interval(490.0, np.arange(1001.0)) == pytest.approx((15.0, 965.0))


def test_of_equal_cells_nothing_differs() -> None:
    values = np.linspace(40, 60, 100)
    assert compare_resampled((50.0, 50.0), values, values, IMAGES) == (0.0, 0.0, 0.0, 1.0)


def test_a_mean_over_images_is_compared_as_its_variance_says() -> None:
    right = np.random.default_rng(1).random((2, IMAGES)) < [[0.6], [0.5]]
    first, second = 100 * draws() @ right.T.astype(float).copy()[:, :1], 100 * draws() @ right[1]
    first = first[:, 0]
    points = 100 * (right[0].mean() - right[1].mean())
    found = compare_resampled((100 * right[0].mean(), 100 * right[1].mean()), first, second, IMAGES)
    error = 100 * (right[0].astype(float) - right[1]).std() / IMAGES**0.5
    assert found.points == pytest.approx(points)
    assert found.low == pytest.approx(points - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(points + 1.96 * error, abs=0.1 * error)
    assert 0 < found.p < 1


def test_seeds_of_a_mean_over_images_are_compared_as_shares_are() -> None:
    rng = np.random.default_rng(2)
    sides = [rng.random((3, IMAGES)) < share for share in (0.62, 0.5)]
    resampled = [100 * (draws() @ side.T).T for side in sides]
    values = [100 * side.mean(axis=1) for side in sides]
    found = compare_resampled_seeds((values[0], values[1]), *resampled, IMAGES)
    wanted = compare_seeds(*sides)
    assert found.points == pytest.approx(wanted.points)
    # Of 4,000 resamples a deviation is known to a hundredth or so.
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.03)
