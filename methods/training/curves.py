"""Values over the steps of an epoch: kept on the device, read when the epoch ends."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MOST = 50
"""Values of a curve in the record of an epoch."""


class Curves:
    """Named values, one each step that `note` is called at.

    What is noted is a part of the state of a training: an epoch that is taken up in its middle has
    the same record.
    """

    def __init__(self) -> None:
        self._noted: dict[str, list[Tensor]] = {}

    def note(self, values: Mapping[str, Tensor]) -> None:
        """Keep `values`, each (), for the record; nothing waits for the device."""
        for name, value in values.items():
            self._noted.setdefault(name, []).append(value.detach().clone())

    def record(self) -> dict[str, list[float]]:
        """Return the values of each name, evenly spaced over the epoch, and begin a new one.

        Of more than MOST only as many are kept, the last among them.
        """
        curves = {name: _thinned(torch.stack(of).tolist()) for name, of in self._noted.items()}
        self._noted = {}
        return curves

    def state(self) -> dict[str, Any]:
        return {name: torch.stack(of) for name, of in self._noted.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._noted = {name: list(of.unbind()) for name, of in state.items()}


def _thinned(values: list[float]) -> list[float]:
    kept = min(len(values), MOST)
    return [values[len(values) * (at + 1) // kept - 1] for at in range(kept)]
