"""Whether what a network returns is finite, without waiting for a GPU before one has to."""

import torch
from torch import Tensor

from models.errors import BenchError


class FiniteCheck:
    """Counts images as their outputs come, and remembers which of them were finite.

    what: an output, in words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._noted: list[tuple[int, int, Tensor]] = []
        self._taken = 0

    def note(self, outputs: Tensor) -> slice:
        """Take note of the outputs (images, K) of the next images; return which ones these are."""
        here = slice(self._taken, self._taken + len(outputs))
        self._noted.append((here.start, here.stop, torch.isfinite(outputs).all()))
        self._taken = here.stop
        return here

    def check(self) -> None:
        """Raise BenchError where something noted since the last call is not finite."""
        for first, behind, good in self._noted:
            if not bool(good):
                raise BenchError(f"{self._what} is not finite at images {first}..{behind - 1}")
        self._noted.clear()
