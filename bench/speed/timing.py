"""The usual times of several things that take turns."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

_ROUNDS = 3
"""At least so many times each, however long it takes."""


def alternate(
    sides: Mapping[str, Callable[[], object]],
    seconds: float,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the seconds that each of `sides` takes: its usual share of the usual turn.

    After one call of each, which is not counted, they take turns for about `seconds`. A machine is
    faster in one minute than in the next, by more than what is looked for; of one turn all sides
    have the same minute, and the median forgets the turns in which something came between.
    """

    def timed(side: Callable[[], object]) -> float:
        start = clock()
        side()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - start

    for side in sides.values():
        timed(side)
    turns: list[dict[str, float]] = []
    begun = clock()
    while len(turns) < _ROUNDS or clock() - begun < seconds:
        turns.append({name: timed(side) for name, side in sides.items()})
    usual = median(sum(turn.values()) for turn in turns)
    return {
        name: usual * median(turn[name] / sum(turn.values()) for turn in turns) for name in sides
    }
