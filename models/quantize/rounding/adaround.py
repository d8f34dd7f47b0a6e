"""AdaRound (Nagel et al., ICML 2020): learn whether each weight is rounded up or down."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from models.quantize.grid import Grid
from models.quantize.ranges import weight_grid
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.rounding.reconstruction import Reconstruction

STRETCH = (-0.1, 1.1)  # gamma and zeta of the rectified sigmoid, eq. 23
_WEIGHT = 0.01  # lambda of the regulariser, eq. 21
WARM_UP = 0.2  # fraction of the steps without regulariser
_BETA = (20.0, 2.0)  # first and last exponent, annealed by half a cosine


@dataclass(frozen=True)
class AdaRound(Rounding):
    """Up or down, whichever brings the layer's output nearest to its float output.

    The input is what the already rounded layers before it give, the target the float output on the
    float input (the asymmetric reconstruction of eq. 25, without the activation function).
    Activations are float. Each step sees all images, where the paper draws 32: see
    `Reconstruction`.

    iterations: steps a layer, at the learning rate `rate`.
    """

    name = "adaround"
    version = 2

    iterations: int = 10_000
    rate: float = 1e-3

    @property
    def inputs(self) -> Inputs:
        return "quantized"

    def quantize(self, layer: Layer) -> Rounded:
        assert layer.problem is not None
        grid = weight_grid(layer.weight, layer.format)
        return Rounded(_learn(layer.weight, grid, layer.problem, self.iterations, self.rate))


def _learn(
    weight: Tensor, grid: Grid, problem: Reconstruction, iterations: int, learning_rate: float
) -> Tensor:
    """Return `weight` on `grid` with the learned rounding."""
    steps = grid.inverse_scale * weight - grid.zero_point
    floor = torch.floor(steps)
    logits = inverse_rectified_sigmoid(steps - floor)
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


def regulariser_slope(up: Tensor, beta: float, weight: float = _WEIGHT) -> Tensor:
    """Return the derivative of lambda (1 - |2h - 1|^beta) by h, eq. 24; lambda is `weight`."""
    centred = 2 * up - 1
    power = centred.abs().pow_(beta - 1)
    return power.mul_(centred.sign_()).mul_(-2 * beta * weight)


def rectified_sigmoid_slope(logits: Tensor) -> Tensor:
    """Return the derivative of `rectified_sigmoid`: 0 where it clips."""
    low, high = STRETCH
    sigmoid = torch.sigmoid(logits)
    clipped = (sigmoid * (high - low) + low).clamp_(0, 1)
    free = (clipped > 0) & (clipped < 1)
    return sigmoid.mul_(1 - sigmoid).mul_(high - low).mul_(free)


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1), eq. 23."""
    low, high = STRETCH
    return torch.clamp(torch.sigmoid(logits) * (high - low) + low, 0, 1)


def inverse_rectified_sigmoid(value: Tensor) -> Tensor:
    """Return the V with h(V) = `value`, 0..1."""
    low, high = STRETCH
    return torch.logit((value - low) / (high - low))


def annealed_beta(step: int, steps: int) -> float | None:
    """Return the exponent of the regulariser at `step` of `steps`, None while it is off."""
    begin = WARM_UP * steps
    if step < begin:
        return None
    high, low = _BETA
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (step - begin) / (steps - begin)))
