"""The frontier against every choice there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.quantize.search import pareto

OPTIONS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 8)), min_size=1, max_size=3, unique_by=lambda o: o
)


def totals(parts: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    return [(sum(s for s, _ in c), sum(k for _, k in c)) for c in product(*parts)]


@given(st.lists(OPTIONS, min_size=1, max_size=5), st.integers(0, 60))
def test_no_choice_within_the_size_costs_less(
    parts: list[list[tuple[int, int]]], limit: int
) -> None:
    frontier = pareto([[s for s, _ in p] for p in parts], [[c for _, c in p] for p in parts])
    fitting = [cost for size, cost in totals(parts) if size <= limit]
    point = frontier.within(limit)
    if not fitting:
        assert point is None
        return
    assert point is not None
    chosen = [part[option] for part, option in zip(parts, frontier.choice(point), strict=True)]
    assert sum(size for size, _ in chosen) == frontier.sizes[point] <= limit
    assert sum(cost for _, cost in chosen) == frontier.costs[point] == min(fitting)


@given(st.lists(OPTIONS, min_size=1, max_size=4))
def test_the_frontier_is_every_choice_that_none_beats(parts: list[list[tuple[int, int]]]) -> None:
    every = set(totals(parts))
    best = [
        (s, c)
        for s, c in every
        if not any(a <= s and b <= c and (a, b) != (s, c) for a, b in every)
    ]
    frontier = pareto([[s for s, _ in p] for p in parts], [[c for _, c in p] for p in parts])
    assert list(zip(frontier.sizes, frontier.costs, strict=True)) == sorted(best)


def test_a_hand_computed_case() -> None:
    # Part 0: 1 for 9, 4 for 1. Part 1: 2 for 5, 3 for 0. Sums: (3,14) (4,9) (6,6) (7,1).
    frontier = pareto([[1, 4], [2, 3]], [[9.0, 1.0], [5.0, 0.0]])
    assert frontier.sizes.tolist() == [3, 4, 6, 7]
    assert frontier.costs.tolist() == [14.0, 9.0, 6.0, 1.0]
    assert [frontier.choice(point) for point in range(4)] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [frontier.within(size) for size in (2, 3, 5.5, 6, 100)] == [None, 0, 1, 2, 3]


def test_as_many_layers_as_a_resnet152_are_solved_exactly_enough_to_check() -> None:
    generator = np.random.default_rng(0)
    weights = generator.integers(1_000, 2_000_000, 156)
    bits = np.array([2, 4, 8])
    costs = generator.lognormal(size=(156, 1)) * 4.0**-bits
    frontier = pareto(weights[:, None] * bits, costs)
    point = frontier.within(weights.sum() * 4)
    assert point is not None
    choice = frontier.choice(point)
    assert sum(weights[i] * bits[o] for i, o in enumerate(choice)) == frontier.sizes[point]
    assert frontier.costs[point] == pytest.approx(sum(costs[i, o] for i, o in enumerate(choice)))
    # No layer can change its bits, and no two layers can swap theirs, for the better.
    assert frontier.costs[point] <= costs[:, 1].sum()
    assert np.all(np.diff(frontier.sizes) > 0)
    assert np.all(np.diff(frontier.costs) < 0)
