"""AdaRound (Nagel et al., ICML 2020): learn whether each weight is rounded up or down."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Adam

from models.quantize.grid import Grid
from models.quantize.ranges import weight_grid

_STRETCH = (-0.1, 1.1)  # gamma and zeta of the rectified sigmoid, eq. 23
_WEIGHT = 0.01  # lambda of the regulariser, eq. 21
_WARM_UP = 0.2  # fraction of the steps without regulariser
_BETA = (20.0, 2.0)  # first and last exponent, annealed by half a cosine
_BATCH = 32


class WeightGrid(NamedTuple):
    """How one layer's weight is to be quantized: see `models.quantize.spec.QuantSpec`."""

    bits: int
    scheme: str
    granularity: str
    range_estimator: str


def adaround(
    network: nn.Module,
    layers: Mapping[str, WeightGrid],
    images: Tensor,
    iterations: int,
    learning_rate: float,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> None:
    """Quantize the weights of `layers`, in the order given, in place.

    Layer by layer, the rounding is chosen that brings the layer's output on the input that the
    already rounded layers before it give nearest to its float output on its float input (the
    asymmetric reconstruction of eq. 25, without the activation function). Activations are float.

    layers: by name, in the order in which the network calls them. images: (N, 3, H, W).
    """
    reference = copy.deepcopy(network)
    for done, (name, how) in enumerate(layers.items()):
        layer = network.get_submodule(name)
        inputs, _ = _input_and_output(network, name, images)
        _, target = _input_and_output(reference, name, images)
        grid = weight_grid(_weight(layer), *how)
        weight = _learn(layer, grid, inputs, target, iterations, learning_rate, generator)
        _weight(layer).copy_(weight)
        progress(done + 1, len(layers))


def _learn(
    layer: nn.Module,
    grid: Grid,
    inputs: Tensor,
    target: Tensor,
    iterations: int,
    learning_rate: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the weight of `layer` on `grid` with the learned rounding."""
    steps = grid.inverse_scale * _weight(layer) - grid.zero_point
    floor = torch.floor(steps)
    logits = _inverse_rectified_sigmoid(steps - floor).requires_grad_(True)
    optimizer = Adam([logits], lr=learning_rate)

    def weight_for(up: Tensor) -> Tensor:
        q = torch.clamp(floor + up, grid.q_min, grid.q_max)
        return (q + grid.zero_point) / grid.inverse_scale

    for step in range(iterations):
        chosen = torch.randint(len(inputs), (min(_BATCH, len(inputs)),), generator=generator)
        with torch.enable_grad():
            up = rectified_sigmoid(logits)
            output = functional_call(layer, {"weight": weight_for(up)}, (inputs[chosen],))
            loss = (output - target[chosen]).square().sum(1).mean()
            beta = annealed_beta(step, iterations)
            if beta is not None:
                loss = loss + _WEIGHT * (1 - (2 * up - 1).abs().pow(beta)).sum()
            (logits.grad,) = torch.autograd.grad(loss, logits)
        optimizer.step()
    return weight_for((rectified_sigmoid(logits.detach()) >= 0.5).to(floor))


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1), eq. 23."""
    low, high = _STRETCH
    return torch.clamp(torch.sigmoid(logits) * (high - low) + low, 0, 1)


def _inverse_rectified_sigmoid(value: Tensor) -> Tensor:
    low, high = _STRETCH
    return torch.logit((value - low) / (high - low))


def annealed_beta(step: int, steps: int) -> float | None:
    """Return the exponent of the regulariser at `step` of `steps`, None while it is off."""
    begin = _WARM_UP * steps
    if step < begin:
        return None
    high, low = _BETA
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (step - begin) / (steps - begin)))


def _weight(layer: nn.Module) -> Tensor:
    return layer.get_parameter("weight").detach()


def _input_and_output(network: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what enters and what leaves the layer called `name`, for all images.

    A layer that is called several times gives all its calls, one after the other.
    """
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def note(layer: nn.Module, args: Any, output: Tensor) -> None:
        inputs.append(args[0])
        outputs.append(output)

    handle = network.get_submodule(name).register_forward_hook(note)
    try:
        with torch.no_grad():
            for batch in images.split(_BATCH):
                network(batch)
    finally:
        handle.remove()
    return torch.cat(inputs), torch.cat(outputs)
