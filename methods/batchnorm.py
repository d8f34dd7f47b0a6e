"""BatchNorm layers of a network and what reaches them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def batchnorms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the BatchNorm2d layers of `network` that hold running statistics."""
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return [layer for layer in layers if layer.running_mean is not None]


def running_statistics(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the running (mean, variance), each (C,), of a layer that has them."""
    assert layer.running_mean is not None and layer.running_var is not None
    return layer.running_mean, layer.running_var


@contextmanager
def inputs_of(layers: list[nn.BatchNorm2d]) -> Iterator[dict[nn.BatchNorm2d, list[Tensor]]]:
    """Collect the inputs (N, C, H, W) of `layers` during forward passes inside the block.

    A layer that is called twice has two inputs, one that is not called has none.
    """
    seen: dict[nn.BatchNorm2d, list[Tensor]] = {layer: [] for layer in layers}

    def keep(layer: nn.BatchNorm2d, args: Any) -> None:
        seen[layer].append(args[0])

    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
