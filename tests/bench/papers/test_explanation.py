import numpy as np

from bench.papers.explanation import Match, Measured, Target, match, nearest
from bench.statistics.drops import Flips
from bench.statistics.intervals import wilson_interval


def cell(lost: int, gained: int = 0, id: str = "a") -> Measured:
    return Measured(id, np.arange(200) < 180 - lost + gained, Flips(lost, gained, 200))


def test_with_a_float_number_drops_are_compared() -> None:
    found = match((0, 1), cell(20, 5), Target(60.0, 70.0))
    assert (found.levels, found.id, found.value, found.away) == ((0, 1), "a", 7.5, -2.5)
    assert found.low < 7.5 < found.high
    assert found.explains == (found.high >= 10.0)
    assert not match((0, 1), cell(60), Target(60.0, 70.0)).explains


def test_without_one_it_is_the_accuracy() -> None:
    found = match((0,), cell(20), Target(75.0, None))
    assert found == Match((0,), "a", 80.0, *wilson_interval(160, 200), 5.0)
    assert found.explains
    unpaired = Measured("b", np.arange(200) < 160, None)
    assert match((0,), unpaired, Target(75.0, 90.0)).value == 80.0


def test_the_nearest_recipe_is_predicted_and_not_one_that_is_measured() -> None:
    # Each choice loses: 4, 10 and 24 points.
    cells = {
        (a, b, c): cell(8 * a + 20 * b + 48 * c)
        for a, b, c in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert nearest(cells, Target(60.0, 88.0)) == (1, 0, 1)
    assert nearest(cells, Target(60.0, 98.0)) == (1, 1, 1)
    assert nearest({(0,): cell(0), (1,): cell(8)}, Target(60.0, 70.0)) is None
