"""Confidence sequences: by hand, at the ends, and simulated with a look after every image."""

from math import comb

import numpy as np
import pytest

from bench.statistics.drops import Flips
from bench.statistics.sequences import accuracy_sequence, drop_sequence


def test_accuracy_by_hand() -> None:
    # 4 of 5 seen are right, of 8. With K right of all, the ratio of the mixture, which gives every
    # count of 0..5 the same 1/6, to the probability of the 4 is 1/6 / (C(K,4) C(8-K,1) / C(8,5)).
    ratio = {K: 1 / 6 / (comb(K, 4) * comb(8 - K, 1) / comb(8, 5)) for K in range(4, 8)}
    assert max(ratio.values()) < 20
    assert accuracy_sequence(4, 5, 8) == (50.0, 87.5)


def test_where_a_composition_is_excluded() -> None:
    # 90 of 100, of 200: the fewest right in all for which the ratio is still below 20.
    def ratio(whole: int) -> float:
        return comb(200, 100) / 101 / (comb(whole, 90) * comb(200 - whole, 10))

    assert ratio(161) > 20 > ratio(162)
    assert ratio(190) < 20  # with 10 seen wrong, more than 190 cannot be right
    assert accuracy_sequence(90, 100, 200) == (81.0, 95.0)


def test_nothing_seen_and_everything_seen() -> None:
    assert accuracy_sequence(0, 0, 50) == (0.0, 100.0)
    assert accuracy_sequence(35, 50, 50) == (70.0, 70.0)
    assert drop_sequence(Flips(0, 0, 0), 50) == (0.0, -100.0, 100.0)
    assert drop_sequence(Flips(5, 2, 50), 50) == (6.0, 6.0, 6.0)


def test_a_drop_by_trying_every_composition() -> None:
    seen, total = Flips(3, 1, 12), 20

    def probability(lost: int, gained: int) -> float:
        rest = total - lost - gained
        return comb(lost, 3) * comb(gained, 1) * comb(rest, 8) / comb(20, 12) if rest >= 0 else 0.0

    # The mixture (2, 1, 20) of 3, 1, 8 of 12: 12!/(3! 1! 8!) x (2 3 4)(1)(20 .. 27) / (23 .. 34).
    rising = np.prod(np.arange(20.0, 28)) / np.prod(np.arange(23.0, 35))
    mixture = 12 * 11 * 10 * 9 / 6 * 24 * rising
    allowed = [
        lost - gained
        for lost in range(3, 12)
        for gained in range(1, 10)
        if probability(lost, gained) > 0 and mixture / probability(lost, gained) < 20
    ]
    found = drop_sequence(seen, total)
    assert (found.low, found.high) == (100 * min(allowed) / 20, 100 * max(allowed) / 20)
    assert found.points == pytest.approx(100 * 2 / 12)


def test_impossible_counts() -> None:
    for right, seen, total in ((5, 4, 10), (-1, 4, 10), (2, 11, 10), (0, 0, 0)):
        with pytest.raises(ValueError, match="cannot be"):
            accuracy_sequence(right, seen, total)
    with pytest.raises(ValueError, match="cannot be"):
        drop_sequence(Flips(3, 2, 4), 10)


@pytest.mark.thorough
def test_the_truth_stays_inside_however_often_one_looks() -> None:
    generator, runs, missed, missed_drop = np.random.default_rng(0), 120, 0, 0
    for _ in range(runs):
        lost, gained, total = 24, 9, 200
        outcome = generator.permutation([1] * lost + [-1] * gained + [0] * (total - lost - gained))
        right = generator.permutation([True] * 130 + [False] * 70)
        looks = range(1, total, 6)
        missed += any(
            not low <= 65.0 <= high
            for n in looks
            for low, high in [accuracy_sequence(int(right[:n].sum()), n, total)]
        )
        missed_drop += any(
            not drop.low <= 7.5 <= drop.high
            for n in looks
            for part in [outcome[:n]]
            for drop in [
                drop_sequence(Flips(int((part > 0).sum()), int((part < 0).sum()), n), total)
            ]
        )
    assert missed <= 0.05 * runs
    assert missed_drop <= 0.05 * runs
