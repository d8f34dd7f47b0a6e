import math

import pytest

from bench.stats import mean_and_spread, wilson_interval


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
