"""The shortest of each side's times, by a clock of the test's own."""

from collections.abc import Callable

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


def test_the_least_of_each_after_a_call_that_does_not_count() -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 1, 5, 3, 4, 9), "b": clock.side("b", 1, 2, 6, 7)}
    assert alternate(sides, 0.0, CPU, clock) == {"a": 3, "b": 2}
    assert clock.order == ["a", "b"] * 4


def test_they_take_turns_until_the_time_is_over() -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 100, 1), "b": clock.side("b", 100, 1)}
    assert alternate(sides, 19.0, CPU, clock) == {"a": 1, "b": 1}
    assert clock.order == ["a", "b"] * 11
