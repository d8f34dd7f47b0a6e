"""BatchNorm layers of a network and what reaches them."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from methods.distillation.intercept import Instead
from models.errors import BenchError, NotApplicable
from models.tracing import Enough, Forward, replaced

T = TypeVar("T")

NO_STATISTICS = "the network has no BatchNorm statistics to match"


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


def scale_and_shift(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a layer in eval mode computes, x * scale + shift, each (1, C, 1, 1) float32."""
    mean, variance = running_statistics(layer)
    scale = torch.rsqrt(variance.detach().float() + layer.eps)
    if layer.weight is not None:
        scale = scale * layer.weight.detach().float()
    shift = -mean.detach().float() * scale
    if layer.bias is not None:
        shift = shift + layer.bias.detach().float()
    return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)


def calls_in_order(network: nn.Module, image: Tensor) -> list[tuple[nn.BatchNorm2d, int]]:
    """Return the BatchNorm layers in the order in which a forward pass of `image` calls them.

    Beside each is the number of pixels, height x width, of the map it sees. A layer that is called
    twice is there twice, one that is never called is not. image: (1, C, H, W). Raises
    NotApplicable when there is none, or when one sees maps of 1x1 pixels, which have no variance.
    """
    layers: list[tuple[nn.BatchNorm2d, int]] = []

    def noting(layer: nn.BatchNorm2d, forward: Forward) -> Forward:
        def note(x: Tensor) -> Tensor:
            pixels = x[0, 0].numel()
            if pixels < 2:
                raise NotApplicable(
                    "a BatchNorm sees 1x1 maps, whose variance over pixels does not exist"
                )
            layers.append((layer, pixels))
            return forward(x)

        return note

    with replaced(batchnorms(network), noting), torch.no_grad():
        network(image)
    if not layers:
        raise NotApplicable(NO_STATISTICS)
    return layers


def see_inputs(
    network: nn.Module,
    images: Tensor,
    see: Callable[[Tensor], T],
    calls: int | None = None,
    normalise: Callable[[int, Tensor], tuple[Tensor, T]] | None = None,
) -> tuple[list[T], Tensor | None]:
    """Run `network` on `images` and show `see` each input of a BatchNorm.

    Return what `see` returned, in the order of the calls, and the network's output.

    calls: the forward pass ends at this call of a BatchNorm and there is no output: what lies
        behind the last one costs nothing.
    normalise: what is called instead of `see`, and does BatchNorm's work too: with the number of
        the call, from 0, and the input; it returns the input normalised and what `see` would. It
        is left out where a layer does not simply normalise its input with its own running
        statistics, and at the last of `calls`.
    """
    values: list[T] = []

    def watching(layer: nn.BatchNorm2d, forward: Forward) -> Forward:
        def watch(x: Tensor) -> Tensor:
            call = len(values)

            def normalise_here(*args: Any, **kwargs: Any) -> Tensor:
                if (
                    normalise is None
                    or len(values) > call
                    or not _is_call_of(layer, x, *args, **kwargs)
                ):
                    return batch_norm(*args, **kwargs)
                y, value = normalise(call, x)
                values.append(value)
                return y

            if normalise is not None and call + 1 != calls:
                with Instead(batch_norm, normalise_here):
                    y = forward(x)
                if len(values) > call:
                    return y
                values.append(see(x))
                return y
            values.append(see(x))
            if len(values) == calls:
                raise Enough
            return forward(x)

        return watch

    with replaced(batchnorms(network), watching):
        try:
            return values, network(images)
        except Enough:
            return values, None


def _is_call_of(
    layer: nn.BatchNorm2d,
    x: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> bool:
    """Say whether a call of batch_norm is that of `layer` on `x`, in eval mode."""
    arguments = (input, running_mean, running_var, weight, bias)
    expected = (x, layer.running_mean, layer.running_var, layer.weight, layer.bias)
    same = all(one is other for one, other in zip(arguments, expected, strict=True))
    return same and not training and eps == layer.eps
