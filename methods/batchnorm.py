"""BatchNorm layers of a network and what reaches them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable

T = TypeVar("T")

NO_STATISTICS = "the network has no BatchNorm statistics to match"


class _Enough(Exception):
    """Nothing behind this layer is needed."""


def batchnorms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the BatchNorm2d layers of `network` that hold running statistics."""
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return [layer for layer in layers if layer.running_mean is not None]


def running_statistics(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the running (mean, variance), each (C,), of a layer that has them."""
    assert layer.running_mean is not None and layer.running_var is not None
    return layer.running_mean, layer.running_var


def check_statistics(network: nn.Module) -> None:
    """Raise BenchError when the running statistics of `network` cannot be of any data."""
    names = {module: name or "network" for name, module in network.named_modules()}
    fresh = True
    for layer in batchnorms(network):
        mean, var = running_statistics(layer)
        if not bool(torch.isfinite(mean).all() and torch.isfinite(var).all() and (var >= 0).all()):
            raise BenchError(
                f"the BatchNorm {names[layer]!r} has running statistics that are not finite or a "
                "negative variance; use other weights"
            )
        fresh = fresh and not bool(mean.any()) and bool((var == 1).all())
    if fresh and batchnorms(network):
        raise BenchError(
            "every BatchNorm of the network has mean 0 and variance 1, as before any training; "
            "use trained weights"
        )


def calls_in_order(network: nn.Module, image: Tensor) -> list[tuple[nn.BatchNorm2d, int]]:
    """Return the BatchNorm layers in the order in which a forward pass of `image` calls them.

    Beside each is the number of pixels, height x width, of the map it sees. A layer that is called
    twice is there twice, one that is never called is not. image: (1, C, H, W). Raises
    NotApplicable when there is none, or when one sees maps of 1x1 pixels, which have no variance.
    """
    layers: list[tuple[nn.BatchNorm2d, int]] = []

    def keep(layer: nn.BatchNorm2d, args: Any) -> None:
        pixels = args[0][0, 0].numel()
        if pixels < 2:
            raise NotApplicable(
                "a BatchNorm sees 1x1 maps, whose variance over pixels does not exist"
            )
        layers.append((layer, pixels))

    with _hooks(batchnorms(network), keep), torch.no_grad():
        network(image)
    if not layers:
        raise NotApplicable(NO_STATISTICS)
    return layers


def see_inputs(
    network: nn.Module, images: Tensor, see: Callable[[Tensor], T], calls: int | None = None
) -> tuple[list[T], Tensor | None]:
    """Run `network` on `images` and show `see` each input of a BatchNorm.

    Return what `see` returned, in the order of the calls, and the network's output. With `calls`,
    the forward pass ends at that call of a BatchNorm and there is no output: what lies behind the
    last one costs nothing.
    """
    seen: list[T] = []

    def keep(layer: nn.BatchNorm2d, args: Any) -> None:
        seen.append(see(args[0]))
        if len(seen) == calls:
            raise _Enough

    with _hooks(batchnorms(network), keep):
        try:
            return seen, network(images)
        except _Enough:
            return seen, None


@contextmanager
def _hooks(layers: list[nn.BatchNorm2d], hook: Callable[[Any, Any], None]) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
