"""Each side's share of a turn, by a clock of the test's own."""

from collections.abc import Callable

import pytest
import torch

from bench.speed.timing import alternate

CPU = torch.device("cpu")


class Clock:
    """Time that passes only while a side runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def side(self, name: str, *seconds: float) -> Callable[[], None]:
        """Return a side that takes `seconds` in turn, the last of them from then on."""
        left = list(seconds)

        def run() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def __call__(self) -> float:
        return self.now


def test_the_median_share_of_the_median_turn_after_a_call_that_does_not_count() -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 90, 5, 3, 4, 9), "b": clock.side("b", 90, 2, 6, 7)}
    # Turns of 7, 9 and 11 seconds; shares of a 5/7, 3/9, 4/11, of b 2/7, 6/9, 7/11.
    found = alternate(sides, 0.0, CPU, clock)
    assert found == {"a": pytest.approx(9 * 4 / 11), "b": pytest.approx(9 * 7 / 11)}
    assert clock.order == ["a", "b"] * 4


def test_a_machine_that_slows_down_changes_no_ratio() -> None:
    clock = Clock()
    slower = [1, 1, 1, 2, 3, 10]
    sides = {
        "a": clock.side("a", 9, *(3.0 * factor for factor in slower)),
        "b": clock.side("b", 9, *(2.0 * factor for factor in slower)),
    }
    found = alternate(sides, 89.0, CPU, clock)
    assert found["a"] / found["b"] == pytest.approx(1.5)


def test_they_take_turns_until_the_time_is_over() -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 100, 1), "b": clock.side("b", 100, 1)}
    assert alternate(sides, 19.0, CPU, clock) == {"a": 1, "b": 1}
    assert clock.order == ["a", "b"] * 11
