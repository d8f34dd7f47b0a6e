"""The shortest times of several things that take turns."""

import time
from collections.abc import Callable, Mapping

import torch

_ROUNDS = 3
"""At least so many times each, however long it takes."""


def alternate(
    sides: Mapping[str, Callable[[], object]],
    seconds: float,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the least seconds that each of `sides` takes.

    After one call of each, which is not counted, they take turns for about `seconds`, so that what
    else the machine does disturbs all alike; the least is what the others leave undisturbed.
    """

    def timed(side: Callable[[], object]) -> float:
        start = clock()
        side()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - start

    for side in sides.values():
        timed(side)
    best = dict.fromkeys(sides, float("inf"))
    begun, rounds = clock(), 0
    while rounds < _ROUNDS or clock() - begun < seconds:
        for name, side in sides.items():
            best[name] = min(best[name], timed(side))
        rounds += 1
    return best
