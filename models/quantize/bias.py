"""Bias correction (Nagel et al., ICCV 2019, section 4.2): rounding shifts no mean output."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.quantize.activation import weighted_layers
from models.tracing import traced

_BATCH = 32  # images at a time through the network


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


@torch.no_grad()
def correct_bias_on(images: Tensor, quantized: nn.Module, network: nn.Module) -> None:
    """Take what quantized weights add to the mean output of each layer on `images` from its bias.

    Empirical bias correction (appendix D of the paper): the mean is over images and pixels, and
    zeros of the padding count. Each layer's input is the one that the float `network` gives it, so
    no layer makes up for another, and their order does not matter.

    images: (N, 3, H, W) normalised network input. `quantized` is changed in place.
    """
    floats = weighted_layers(network)
    inputs = mean_inputs(network, images)
    for name, layer in weighted_layers(quantized).items():
        error = layer.weight - floats[name].weight
        if name in inputs and bool(error.any()):
            calls = [_mean_output(layer, error, x) for x in inputs[name]]
            add_to_bias(layer, -torch.stack(calls).mean(0))


def mean_inputs(network: nn.Module, images: Tensor) -> dict[str, list[Tensor]]:
    """Return the mean over images of what enters each convolution and linear layer, by name.

    One tensor (1, C, H, W), or of a linear layer (1, ..., C), a call.
    """
    inputs: dict[str, list[Tensor]] = {}
    calls: Counter[str] = Counter()

    def note(name: str, args: Any) -> None:
        total, call = args[0].sum(0, keepdim=True), calls[name]
        means = inputs.setdefault(name, [])
        if call < len(means):
            means[call] += total / len(images)
        else:
            means.append(total / len(images))
        calls[name] += 1

    with traced(weighted_layers(network), before=note):
        for batch in images.split(_BATCH):
            calls.clear()
            network(batch)
    return inputs


def _mean_output(layer: nn.Conv2d | nn.Linear, weight: Tensor, x: Tensor) -> Tensor:
    """Return what `layer` gives on `x` with `weight` and no bias, its mean over pixels, (out,).

    A layer is linear: on the mean of images it gives the mean of what it gives on each.
    """
    parameters = {"weight": weight}
    if layer.bias is not None:
        parameters["bias"] = torch.zeros_like(layer.bias)
    output = functional_call(layer, parameters, (x,))
    channels = output.movedim(1 if isinstance(layer, nn.Conv2d) else -1, 0)
    return channels.flatten(1).mean(1)


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
