import itertools

import numpy as np
import pytest

from bench.statistics.factorial import Effect, fold_over, main_effects, predicted


@pytest.mark.parametrize(
    ("factors", "runs"), [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (8, 16), (9, 32)]
)
def test_a_design_is_balanced_and_of_resolution_four(factors: int, runs: int) -> None:
    levels = fold_over(factors)
    assert levels.shape == (runs, factors)
    assert not levels[0].any()
    assert len({tuple(row) for row in levels}) == runs
    signs = 2 * levels - 1
    assert (signs.sum(axis=0) == 0).all()
    # No effect of one factor is that of another, nor that of any two together.
    for one, other in itertools.combinations(range(factors), 2):
        assert signs[:, one] @ signs[:, other] == 0
        for third in range(factors):
            assert (signs[:, one] * signs[:, other]) @ signs[:, third] == 0


def test_no_factor() -> None:
    with pytest.raises(ValueError, match="needs a factor"):
        fold_over(0)


def test_effects_by_hand() -> None:
    levels = fold_over(2)
    assert levels.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
    correct = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]], dtype=bool)
    first, second = main_effects(levels, correct)
    # Images gain (1/2 - 1, 0, 0 - 1/2, 0) by the first: mean -1/4, deviation sqrt(1/12).
    half = 100 * 1.959964 * (1 / 12) ** 0.5 / 2
    assert first == pytest.approx(Effect(-25.0, -25.0 - half, -25.0 + half), abs=1e-4)
    assert second.points == pytest.approx(-25.0)


def test_what_adds_up_is_predicted() -> None:
    levels, effects = fold_over(5), np.array([3.0, -20.0, 0.5, 7.0, -1.0])
    values = 60 + levels @ effects
    every = np.array(list(itertools.product((0, 1), repeat=5)))
    assert predicted(levels, values, every) == pytest.approx(60 + every @ effects)


def test_what_does_not_add_up_is_taken_from_what_is_near() -> None:
    levels, values = fold_over(4), np.zeros(8)
    values[0] = 8.0
    every = np.array(list(itertools.product((0, 1), repeat=4)))
    found = dict(zip(map(tuple, every.tolist()), predicted(levels, values, every), strict=True))
    assert [found[tuple(row)] for row in levels.tolist()] == pytest.approx(values, abs=1e-4)
    near, far = found[1, 0, 0, 0], found[0, 1, 1, 1]
    assert near > far


def test_the_interval_covers_the_effect() -> None:
    generator, covered = np.random.default_rng(0), 0
    levels = fold_over(4)
    for _ in range(300):
        ease = generator.random(200)
        chance = 0.2 + 0.5 * ease[None] - 0.1 * levels[:, :1]
        (effect, *_) = main_effects(levels, generator.random((8, 200)) < chance)
        covered += effect.low <= -10.0 <= effect.high
    assert covered >= 0.92 * 300
