"""One option for each of several parts, at the least total cost within a total size: exactly.

The multiple-choice knapsack problem, solved by merging Pareto frontiers part by part (Nemhauser
and Ullmann, 1969). A choice that is larger and no cheaper than another can never be part of a best
one, so dropping it loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frontier:
    """The choices that no other choice beats in both size and cost.

    sizes: (F,), rising. costs: (F,), falling.
    """

    sizes: np.ndarray
    costs: np.ndarray
    # Of each part: the index of each survivor among option x survivors of the parts before.
    _survivors: tuple[np.ndarray, ...]
    _widths: tuple[int, ...]  # how many survivors there were before each part

    def choice(self, point: int) -> list[int]:
        """Return the option of every part, by index, at a point of the frontier."""
        options = []
        for survivors, width in zip(reversed(self._survivors), reversed(self._widths), strict=True):
            option, point = divmod(int(survivors[point]), width)
            options.append(option)
        return options[::-1]

    def within(self, size: float) -> int | None:
        """Return the cheapest point whose size is at most `size`, None where there is none."""
        fitting = int(np.searchsorted(self.sizes, size, side="right"))
        return fitting - 1 if fitting else None


def pareto(sizes: Sequence[Sequence[float]], costs: Sequence[Sequence[float]]) -> Frontier:
    """Return the whole frontier of total size and total cost.

    sizes, costs: of every option of every part; whole sizes are exact up to 2^53. Of choices of
    equal size and cost one is kept.
    The number of survivors is 400 for a ResNet-18 and 6,000 for a ResNet-152 with three options
    a layer; in the worst case it is exponential in the number of parts.
    """
    size, cost = np.zeros(1), np.zeros(1)
    survivors: list[np.ndarray] = []
    widths: list[int] = []
    for of_size, of_cost in zip(sizes, costs, strict=True):
        widths.append(len(size))
        all_sizes = (np.asarray(of_size, np.float64)[:, None] + size).ravel()
        all_costs = (np.asarray(of_cost)[:, None] + cost).ravel()
        order = np.lexsort((all_costs, all_sizes))
        least = np.minimum.accumulate(all_costs[order])
        survives = np.append(True, all_costs[order][1:] < least[:-1])
        order = order[survives]
        size, cost = all_sizes[order], all_costs[order]
        survivors.append(order)
    return Frontier(size, cost, tuple(survivors), tuple(widths))
