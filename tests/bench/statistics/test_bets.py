"""Bets against drops: by hand, at the ends, and that the truth is rarely excluded."""

from itertools import permutations
from math import exp, log1p

import numpy as np
import pytest

from bench.statistics.bets import (
    Bets,
    Sample,
    drop_of,
    first_settled,
    looks,
    may_be_settled,
    settled,
)
from bench.statistics.drops import Drop
from tests.bench.statistics.until import Population, judged, looked_at_once, outcomes


def of(change: list[int], right: list[int], total_right: int, total: int) -> Sample:
    return Sample(np.array(change), np.array(right, dtype=bool), total_right, total)


def test_when_one_looks() -> None:
    assert looks(1000) == [256, 512, 768, 1000]
    assert looks(200) == [200]
    every = looks(50_000)
    assert every[:12] == [*range(256, 2817, 256), 3328]  # 2,816 and a tenth are not 3,072
    assert every[-1] == 50_000
    assert len(every) == 38


def test_a_bet_is_fair_if_the_drop_is_the_true_one() -> None:
    # 5 images, of which the float network has 3 right; 2 of these are lost and 1 other is gained.
    images = [(1, 1), (1, 1), (0, 1), (-1, 0), (0, 0)]
    for n, sign in ((3, 1), (3, -1), (4, 1)):
        orders = [order[:n] for order in permutations(images)]
        capitals = [
            exp(Bets(of(*map(list, zip(*order, strict=True)), 3, 5)).capital(1, sign)[-1])
            for order in orders
        ]
        assert np.mean(capitals) == pytest.approx(1.0)
        assert np.std(capitals) > 0.01


def test_the_first_two_bets_by_hand() -> None:
    # Before the first image 20 are taken to have been seen: of 14 right ones 4 lost, of 6 wrong
    # ones 1 gained. The variance is .7 x 4/14 x 10/14 + .3 x 1/6 x 5/6, and the change that is
    # expected differs by 4/14 + 1/6 with what the float network says.
    first = 0.7 * 4 / 14 * 10 / 14 + 0.3 / 6 * 5 / 6
    # Then one of 15 right ones more is lost, of 21.
    second = 15 / 21 * 5 / 15 * 10 / 15 + 6 / 21 / 6 * 5 / 6
    capitals = []
    for distance in (0.005, 0.01, 0.02, 0.04):
        # Lost where 6 of 10 are right in float, against a drop of 0 in 10; then 0 where 5 of 9 are,
        # against one of -1 in 9.
        won = 1 - (4 / 14 + 1 / 6) * (1 - 6 / 10)
        then = 1 / 9 - (5 / 15 + 1 / 6) * (1 - 5 / 9)
        stakes = min(distance / first, 0.3), min(distance / second * 10 / 9, 0.3)
        capitals.append(exp(log1p(stakes[0] * won) + log1p(stakes[1] * then)))
    found = Bets(of([1, 0], [1, 1], 6, 10)).capital(0, 1)
    assert exp(found[-1]) == pytest.approx(np.mean(capitals))


def test_nothing_seen_and_everything_seen() -> None:
    assert drop_of(of([], [], 30, 50)) == (0.0, -40.0, 60.0)
    assert first_settled(of([], [], 30, 50), 0.0, 50.0) is None
    change = [1] * 5 + [0] * 43 + [-1] * 2
    whole = of(change, [1] * 30 + [0] * 20, 30, 50)
    assert drop_of(whole) == (6.0, 6.0, 6.0)


def test_impossible_counts() -> None:
    for sample in (
        of([0, 0, 0], [1, 1, 1], 2, 5),
        of([0, 0, 0], [0, 0, 0], 3, 5),
        of([0, 0, 0], [1, 0, 0], 1, 2),
    ):
        with pytest.raises(ValueError, match="cannot be"):
            drop_of(sample)


def test_the_interval_narrows_and_says_what_the_quick_answer_says() -> None:
    drawn = outcomes(Population(5_000, 71.5, 65.0, 3.5), np.random.default_rng(3))
    widths = []
    for n in (256, 1_000, 3_000):
        part = Sample(drawn.change[:n], drawn.right[:n], drawn.total_right, drawn.total)
        found = drop_of(part)
        widths.append(found.high - found.low)
        assert found.low <= 6.5 <= found.high
        # A published drop beside which the interval just decides, and one where it does not.
        for published, wanted in ((found.low - 0.51, True), (found.low - 0.45, False)):
            assert settled(found, published, 0.5) is wanted
            assert may_be_settled(part, published, 0.5) is wanted
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_what_is_settled() -> None:
    drop = Drop(2.0, 1.7, 2.4)
    assert settled(drop, 2.0, 0.5)  # all of it is within 1.5 .. 2.5
    assert settled(drop, 3.0, 0.5)  # none of it is within 2.5 .. 3.5
    assert settled(drop, 1.0, 0.5)
    assert not settled(drop, 2.5, 0.5)
    assert not settled(drop, 1.8, 0.5)


def test_verdicts_that_are_wrong_are_rare_and_take_few_images() -> None:
    # The full simulation has 50,000 images: python -m tests.bench.statistics.until
    generator, wrong, shares = np.random.default_rng(0), 0, []
    for away in (0.4, 0.6, -0.4, -0.6) * 10 + (3.0, -3.0) * 2:
        drawn = outcomes(Population(4_000, 71.5, 68.0, 3.0), generator)
        images, verdict = judged(drawn, 3.5 + away, 0.5)
        wrong += verdict != ("reproduced" if abs(away) <= 0.5 else "off")
        if abs(away) == 3:
            shares.append(images / 4_000)
    assert wrong <= 2  # of 44
    assert np.mean(shares) < 0.5


def test_what_a_single_look_takes_by_hand() -> None:
    # 2 of 70 are lost, 1 of 30 gained: a variance of 0.02 x 68/70 + 0.01 x 29/30 = 0.029095. To
    # find a point of 0.01 with 80 %: 0.029095 x ((1.95996 + 0.84162) / 0.01)^2 = 2283.6 images of
    # very many, and 2283.6 / (1 + 2283.6 / 50000) = 2183.9 of 50,000.
    share = looked_at_once(Population(50_000, 70.0, 69.0, 1.0), 1.0)
    assert share == pytest.approx(100 * 2183.9 / 50_000, rel=1e-4)
