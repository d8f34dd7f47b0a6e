"""Float networks on the device, loaded once for the cells that share them."""

from functools import lru_cache

import torch
from torch import nn

from bench.machine.device import Device
from models.zoo import Weights, entry
from models.zoo.weights import load

_KEPT = 2


class Networks:
    """The networks that a process used last, in eval mode and frozen."""

    def __init__(self) -> None:
        self._load = lru_cache(maxsize=_KEPT)(_load)

    def get(self, name: str, weights: Weights, device: Device) -> tuple[nn.Module, str | None]:
        """Return the network called `name`, and the sha256 of its weights (None: untrained).

        Raises BenchError when its weights cannot be had.
        """
        return self._load(name, weights, device.device, device.memory_format)

    def forget(self) -> None:
        """Load networks anew from now on, because one may have been left half changed."""
        self._load.cache_clear()


def _load(
    name: str, weights: Weights, device: torch.device, layout: torch.memory_format
) -> tuple[nn.Module, str | None]:
    if weights.locate is None:
        network, sha256 = entry(name).network().eval().requires_grad_(False), None
    else:
        network, sha256 = load(entry(name), weights)
    return network.to(memory_format=layout).to(device), sha256
