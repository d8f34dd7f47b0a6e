import math

import numpy as np
import pytest

from bench.statistics.intervals import mean_and_spread, t_interval, t_quantile, wilson_interval


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10), (99, 100), (500, 1000), (1, 1)])
def test_wilson_interval_is_the_closed_form(correct: int, total: int) -> None:
    z = 1.959963984540054
    p = correct / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    low, high = wilson_interval(correct, total)
    assert low == pytest.approx(100 * (middle - half), abs=1e-9)
    assert high == pytest.approx(100 * (middle + half), abs=1e-9)
    assert 0 <= low <= 100 * p <= high + 1e-9 <= 100 + 1e-9


def test_known_interval() -> None:
    # Agresti and Coull (1998) print [0.0, 0.278] for 0 of 10.
    low, high = wilson_interval(0, 10)
    assert (round(low, 1), round(high, 1)) == (0.0, 27.8)


def test_mean_and_spread() -> None:
    assert mean_and_spread([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7)))
    assert mean_and_spread([5.0]) == (5.0, None)
    assert mean_and_spread([5.0, 5.0]) == (5.0, 0.0)


def test_t_interval_by_hand() -> None:
    # Mean 3, standard deviation sqrt(7), t = 4.302653 with 2 degrees of freedom.
    half = 4.302652729911275 * math.sqrt(7 / 3)
    assert t_interval([1.0, 2.0, 6.0]) == pytest.approx((3 - half, 3 + half))
    assert t_interval([5.0, 5.0, 5.0]) == (5.0, 5.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_t_interval_needs_three_seeds(values: list[float]) -> None:
    with pytest.raises(ValueError, match="three values or more"):
        t_interval(values)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = [low <= 90 <= high for low, high in map(t_interval, rng.normal(90, 3, (1000, 3)))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    intervals = [wilson_interval(int(correct), 1000) for correct in rng.binomial(1000, 0.93, 1000)]
    assert np.mean([low <= 93 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 9, 19, 100, 1249])
def test_the_quantile_is_that_of_scipy(freedom: int) -> None:
    from scipy.stats import t

    assert t_quantile(freedom) == pytest.approx(float(t.ppf(0.975, freedom)), rel=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (1, 1000), (35_123, 50_000)])
def test_the_wilson_interval_is_that_of_scipy(correct: int, total: int) -> None:
    from scipy.stats import binomtest

    found = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((100 * found.low, 100 * found.high))
