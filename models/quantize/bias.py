"""Bias correction (Nagel et al., ICCV 2019, section 4.2): rounding shifts no mean output."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.quantize.activation import weighted_layers


@torch.no_grad()
def correct_bias(quantized: nn.Module, network: nn.Module, means: Mapping[str, Tensor]) -> None:
    """Take what quantized weights add to the mean output of each layer from its bias, in place.

    E[y~] - E[y] = eps E[x], eps being the quantized weight less the one of `network` (eq. 17).

    means: E[x] of the inputs of layers, (in,), by name; a layer that is missing stays as it is.
    """
    floats = weighted_layers(network)
    for name, layer in weighted_layers(quantized).items():
        if name in means:
            error = layer.weight - floats[name].weight
            if bool(error.any()):
                add_to_bias(layer, -response(layer, error, means[name]))


def response(layer: nn.Conv2d | nn.Linear, weight: Tensor, x: Tensor) -> Tensor:
    """Return what `layer` would give with `weight`, no bias and no padding, (out,).

    x: (in,), the input's channels, each the same at all pixels.
    """
    grouped = by_group(layer, weight)
    taps = grouped.flatten(3).sum(3) if grouped.dim() > 3 else grouped
    return (taps @ x.view(len(taps), -1, 1)).flatten()


def by_group(layer: nn.Conv2d | nn.Linear, weight: Tensor) -> Tensor:
    """Return `weight` of `layer` as a view (groups, out / groups, in / groups, ...)."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return weight.detach().unflatten(0, (groups, -1))


def add_to_bias(layer: nn.Conv2d | nn.Linear, shift: Tensor) -> None:
    """Add `shift` (out,) to the bias of `layer`, which gets one where it has none."""
    old = shift.new_zeros(shift.shape) if layer.bias is None else layer.bias.detach()
    layer.bias = nn.Parameter(old + shift, requires_grad=False)
