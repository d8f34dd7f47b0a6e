"""Confidence sequences: by hand, at the ends, and simulated with a look after every image."""

from math import comb

import numpy as np
import pytest

from bench.statistics.sequences import accuracy_sequence


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


def test_impossible_counts() -> None:
    for right, seen, total in ((5, 4, 10), (-1, 4, 10), (2, 11, 10), (0, 0, 0)):
        with pytest.raises(ValueError, match="cannot be"):
            accuracy_sequence(right, seen, total)


@pytest.mark.thorough
def test_the_truth_stays_inside_however_often_one_looks() -> None:
    generator, runs, missed, total = np.random.default_rng(0), 120, 0, 200
    for _ in range(runs):
        right = generator.permutation([True] * 130 + [False] * 70)
        missed += any(
            not low <= 65.0 <= high
            for n in range(1, total, 6)
            for low, high in [accuracy_sequence(int(right[:n].sum()), n, total)]
        )
    assert missed <= 0.05 * runs
