"""AdaRound (Nagel et al., ICML 2020): learn whether each weight is rounded up or down."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Adam

from models.quantize.grid import Grid
from models.quantize.ranges import WeightFormat, weight_grid
from models.tracing import Enough, call_names, traced

_STRETCH = (-0.1, 1.1)  # gamma and zeta of the rectified sigmoid, eq. 23
_WEIGHT = 0.01  # lambda of the regulariser, eq. 21
_WARM_UP = 0.2  # fraction of the steps without regulariser
_BETA = (20.0, 2.0)  # first and last exponent, annealed by half a cosine
_BATCH = 32  # images at a time through the network
_FEW = 4  # images at a time whose patches are held


def adaround(
    network: nn.Module,
    layers: Mapping[str, WeightFormat],
    images: Tensor,
    iterations: int,
    learning_rate: float,
    progress: Callable[[int, int], None],
) -> None:
    """Quantize the weights of `layers`, in the order given, in place.

    Layer by layer, the rounding is chosen that brings the layer's output on the input that the
    already rounded layers before it give nearest to its float output on its float input (the
    asymmetric reconstruction of eq. 25, without the activation function). Activations are float.
    Each step sees all images, where the paper draws 32: see `Reconstruction`.

    layers: by name, in the order in which the network calls them. images: (N, 3, H, W).
    """
    reference = copy.deepcopy(network)
    modules = {name: network.get_submodule(name) for name in layers}
    with torch.no_grad():
        calls = Counter(call_names(network, modules, images[:1]))
    for done, (name, weight_format) in enumerate(layers.items()):
        layer = modules[name]
        inputs, _ = _input_and_output(network, name, images, calls[name])
        _, target = _input_and_output(reference, name, images, calls[name])
        grid = weight_grid(_weight(layer), weight_format)
        problem = reconstruction(layer, inputs, target)
        _weight(layer).copy_(_learn(_weight(layer), grid, problem, iterations, learning_rate))
        progress(done + 1, len(layers))


class Reconstruction(NamedTuple):
    """The squared error of a layer's output as a function of what its weight is changed by.

    With a change D of the weight, the layer's error on a patch x of its input is D x + e, e being
    what the unchanged weight makes wrong because x is not the float input. Its square, summed over
    output channels and averaged over patches, is tr(D G D^T) + 2 tr(D^T B) and a constant: one
    small matrix product a step, however many images there are.

    gram: G = mean x x^T, (groups, d, d), d the input channels of a group x kernel height x width.
    cross: B = mean e x^T, (groups, out / groups, d).
    """

    gram: Tensor
    cross: Tensor

    def gradient(self, change: Tensor) -> Tensor:
        """Return the gradient of the error by the weight at `change` (out, in[, kh, kw])."""
        flat = change.reshape(self.cross.shape)
        return (2 * (flat @ self.gram + self.cross)).view_as(change)


def reconstruction(layer: nn.Module, inputs: Tensor, target: Tensor) -> Reconstruction:
    """Return the reconstruction problem of a convolution or linear layer.

    inputs: (N, ...) what enters the layer; target: (N, ...) what should leave it.
    """
    gram, cross, count = torch.zeros(()), torch.zeros(()), 0
    for x, output in zip(inputs.split(_FEW), target.split(_FEW), strict=True):
        patches, error = _by_group(layer, x, layer(x) - output)
        gram = gram.to(x) + patches @ patches.mT
        cross = cross.to(x) + error @ patches.mT
        count += patches.shape[2]
    return Reconstruction(gram / count, cross / count)


def _by_group(layer: nn.Module, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return patches (groups, d, M) of `x` and `error` as (groups, out / groups, M)."""
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2).T[None], error.flatten(0, -2).T[None]
    assert isinstance(layer, nn.Conv2d)
    # Kernels with a single 1 copy each value of a patch to a channel of its own. The layer's own
    # forward pass does it, so that its padding and stride hold, whatever they are.
    size = layer.weight[0].numel()
    copies = torch.eye(size).to(x).repeat(layer.groups, 1).view(-1, *layer.weight.shape[1:])
    parameters = {"weight": copies}
    if layer.bias is not None:
        parameters["bias"] = copies.new_zeros(len(copies))
    patches = functional_call(layer, parameters, (x,))
    return tuple(
        values.flatten(2).unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3).flatten(2)
        for values in (patches, error)
    )


def _learn(
    weight: Tensor, grid: Grid, problem: Reconstruction, iterations: int, learning_rate: float
) -> Tensor:
    """Return `weight` on `grid` with the learned rounding."""
    steps = grid.inverse_scale * weight - grid.zero_point
    floor = torch.floor(steps)
    logits = _inverse_rectified_sigmoid(steps - floor)
    optimizer = Adam([logits], lr=learning_rate, fused=True)
    # Where one step up leaves the grid, nothing is learned: the clamp has no gradient there.
    inside = (floor >= grid.q_min) & (floor < grid.q_max)
    slope_of_up = inside / grid.inverse_scale

    def weight_for(up: Tensor) -> Tensor:
        q = torch.minimum(torch.maximum(floor + up, grid.q_min), grid.q_max)
        return q.add_(grid.zero_point).div_(grid.inverse_scale)

    for step in range(iterations):
        up = rectified_sigmoid(logits)
        slope = problem.gradient(weight_for(up).sub_(weight)).mul_(slope_of_up)
        beta = annealed_beta(step, iterations)
        if beta is not None:
            slope += regulariser_slope(up, beta)
        logits.grad = slope.mul_(rectified_sigmoid_slope(logits))
        optimizer.step()
    return weight_for((rectified_sigmoid(logits) >= 0.5).to(floor))


def regulariser_slope(up: Tensor, beta: float) -> Tensor:
    """Return the derivative of lambda (1 - |2h - 1|^beta) by h, eq. 24."""
    centred = 2 * up - 1
    power = centred.abs().pow_(beta - 1)
    return power.mul_(centred.sign_()).mul_(-2 * beta * _WEIGHT)


def rectified_sigmoid_slope(logits: Tensor) -> Tensor:
    """Return the derivative of `rectified_sigmoid`: 0 where it clips."""
    low, high = _STRETCH
    sigmoid = torch.sigmoid(logits)
    clipped = (sigmoid * (high - low) + low).clamp_(0, 1)
    free = (clipped > 0) & (clipped < 1)
    return sigmoid.mul_(1 - sigmoid).mul_(high - low).mul_(free)


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


def _input_and_output(
    network: nn.Module, name: str, images: Tensor, calls: int
) -> tuple[Tensor, Tensor]:
    """Return what enters and what leaves the layer called `name`, for all images.

    calls: how often a forward pass calls it; one that is called several times gives all its
        calls, one after the other. What lies behind the last is not computed.
    """
    pairs = [c for batch in images.split(_BATCH) for c in _calls(network, name, batch, calls)]
    inputs, outputs = zip(*pairs, strict=True)
    return torch.cat(inputs), torch.cat(outputs)


def _calls(
    network: nn.Module, name: str, images: Tensor, calls: int
) -> list[tuple[Tensor, Tensor]]:
    """Return (input, output) of each call of a layer; the pass ends at the last of them."""
    pairs: list[tuple[Tensor, Tensor]] = []

    def note(_: str, args: Any, output: Tensor) -> None:
        # What goes on after this call may change either in place, as a ReLU does.
        pairs.append((args[0].clone(), output.clone()) if calls > 1 else (args[0], output))
        if len(pairs) == calls:
            raise Enough

    layer = {name: network.get_submodule(name)}
    with torch.no_grad(), suppress(Enough), traced(layer, after=note):
        network(images)
    return pairs
