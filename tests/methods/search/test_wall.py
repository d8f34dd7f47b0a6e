"""Actions to bits and the constraint wall: HAQ's release, and cases worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.search.wall import Bits, bits_of, within, within_fastest, within_pinned
from models.errors import BenchError

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "haq.npz")
ALL = tuple(range(1, 9))


@pytest.mark.parametrize("lowest", [1, 2, 4])
def test_bits_of_an_action_are_the_releases(lowest: int) -> None:
    candidates = range(lowest, 9)
    of_release = GOLDEN[f"bits_{lowest}_8"]
    assert np.array_equal(bits_of(GOLDEN["actions"], candidates, "release"), of_release)
    in_bounds = bits_of(GOLDEN["actions"], candidates, "paper")
    assert np.array_equal(in_bounds, of_release.clip(lowest))
    assert (of_release < lowest).sum() == (lowest == 1)  # a = 0 alone


def test_candidates_with_gaps_share_the_actions() -> None:
    found = bits_of(np.array([0, 0.2, 0.34, 0.5, 0.7, 1]), (2, 4, 8), "paper")
    assert found.tolist() == [2, 2, 4, 4, 8, 8]


def test_the_wall_of_sizes_is_the_releases() -> None:
    sizes = GOLDEN["wsize"]
    assert (GOLDEN["km_before"] != GOLDEN["km_after"]).any(1).sum() == 13
    for before, after, (ratio, whole, size) in zip(
        GOLDEN["km_before"], GOLDEN["km_after"], GOLDEN["km_ratio_org_cur"], strict=True
    ):

        def fits(bits: Bits, limit: float = ratio * whole) -> bool:
            return bool((bits * sizes).sum() <= limit)

        found = within(before, [ALL] * len(before), fits)
        assert np.array_equal(found, after)
        assert (found * sizes).sum() == size
        assert np.array_equal(within_pinned(before, [ALL] * len(before), fits, {}), after)


def test_the_wall_of_latencies_is_the_releases() -> None:
    table, layers = GOLDEN["lut"], np.arange(7)

    def cost(bits: Bits) -> float:
        weights, inputs = bits.reshape(7, 2).T
        return float(table[layers, weights - 1, inputs - 1].sum())

    for before, after, (ratio, whole, now) in zip(
        GOLDEN["lin_before"], GOLDEN["lin_after"], GOLDEN["lin_ratio_org_cost"], strict=True
    ):
        pinned = {0: 8, 1: -1, 12: 8, 13: 8}
        limit = ratio * whole
        found = within_pinned(before.ravel(), [ALL] * 14, lambda x: cost(x) <= limit, pinned)  # noqa: B023
        assert np.array_equal(found, after.ravel())
        assert cost(found) == now


def test_fastest_bits_take_the_place_of_few_from_the_last_on() -> None:
    ms = np.array([[5.0, 1.0], [5.0, 1.0], [5.0, 1.0]])  # of few bits and of many

    def found(limit: float, *limits: str) -> list[int]:
        def fits(bits: Bits) -> bool:
            return bool(ms[np.arange(3), bits].sum() <= limit)

        few, many = np.array([0, 0, 0]), np.array([1, 1, 1])
        return within_fastest(few, many, fits, limits).tolist()

    assert [found(limit) for limit in (15, 11, 7, 3)] == [
        *([0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1])
    ]
    with pytest.raises(BenchError, match="the fastest meet latency_ms and bops together"):
        found(2, "latency_ms", "bops")


def test_first_and_last_are_pinned_once_bits_are_lowered() -> None:
    given_bits = np.array([3, 3, 3, 3])
    candidates = [(2, 3, 4, 5, 6, 7, 8)] * 4

    def below(limit: int) -> Callable[[Bits], bool]:
        return lambda bits: bool(bits.sum() <= limit)

    kept = within_pinned(given_bits, candidates, below(12), {0: 8, 3: 8})
    assert kept.tolist() == [3, 3, 3, 3]
    lowered = within_pinned(given_bits, candidates, below(21), {0: 8, 3: 8})
    assert lowered.tolist() == [3, 3, 3, 3]
    # Lowering the last sets both ends to 8, and the sum is more than before: then the two between.
    assert within_pinned(given_bits, candidates, below(11), {0: 8, 3: 8}).tolist() == [8, 2, 2, 8]


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.data())
def test_halving_finds_what_one_step_after_the_other_does(
    bits: list[int], data: st.DataObject
) -> None:
    sizes = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(bits), max_size=len(bits))))
    limit = data.draw(st.integers(0, 400))
    candidates = [data.draw(st.sampled_from([(1, 2, 4, 8), ALL])) for _ in bits]
    start = np.array([max(c for c in of if c <= b) for b, of in zip(bits, candidates, strict=True)])

    def fits(tried: Bits) -> bool:
        return bool((tried * sizes).sum() <= limit)

    assert np.array_equal(
        within(start, candidates, fits), within_pinned(start, candidates, fits, {})
    )
