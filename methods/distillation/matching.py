"""What the distilling methods share: statistics per image, their targets, the optimisation."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from methods.base import Calibration, Context
from methods.distillation.batchnorm import (
    calls_in_order,
    check_statistics,
    running_statistics,
    scale_and_shift,
    see_inputs,
)
from methods.distillation.precision import computed_in
from methods.distillation.sums import NormaliseAndSum, Sums
from models.errors import BenchError


@dataclass(frozen=True)
class Schedule:
    """Adam, its learning rate divided by 10 after `patience` steps without improvement."""

    iterations: int
    learning_rate: float
    min_learning_rate: float
    patience: int


@dataclass(frozen=True)
class Targets:
    """Statistics to match, of the image and of every BatchNorm input, side by side.

    channels: of the image, then of each call of a BatchNorm in call order; K is their sum.
    pixels: (K,), height x width of the maps.
    mean, deviation: (K,); 0 and 1 for the image, else the running mean and
        sqrt(running variance + epsilon).
    affine: scale and shift (1, C, 1, 1) of each call of a BatchNorm; they do not change while
        images do.
    """

    channels: tuple[int, ...]
    pixels: Tensor
    mean: Tensor
    deviation: Tensor
    epsilon: float
    affine: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def layers(self) -> int:
        """How often a forward pass calls a BatchNorm."""
        return len(self.channels) - 1

    def per_channel(self, values: Tensor) -> Tensor:
        """Spread values (..., 1 + layers), the image's first, over channels: (..., K)."""
        repeats = torch.tensor(self.channels, device=values.device)
        return values.repeat_interleave(repeats, dim=-1)


class Gaps(NamedTuple):
    """Each image's statistics less their targets, both (N, K), and what the network returned."""

    mean: Tensor
    deviation: Tensor
    output: Tensor | None


def targets_of(network: nn.Module, image: Tensor, epsilon: float) -> Targets:
    """Return what the statistics of images are to match; `image` (1, C, H, W) is run once.

    epsilon: added to every variance before the root, in place of the layer's own.

    Raises BenchError for running statistics that cannot be of any data, NotApplicable where there
    is nothing to match.
    """
    check_statistics(network)
    zero = image.new_zeros(image.shape[1])
    parts = [(zero, zero + 1, zero + image[0, 0].numel())]
    calls = calls_in_order(network, image)
    for layer, pixels in calls:
        mean, variance = running_statistics(layer)
        parts.append((mean, variance, torch.full_like(mean, pixels)))
    means, variances, counts = zip(*parts, strict=True)
    return Targets(
        channels=tuple(map(len, means)),
        pixels=torch.cat(counts),
        mean=torch.cat(means),
        deviation=torch.sqrt(torch.cat(variances) + epsilon),
        epsilon=epsilon,
        affine=tuple(scale_and_shift(layer) for layer, _ in calls),
    )


def gaps_to(
    targets: Targets,
    network: nn.Module,
    images: Tensor,
    output: bool = False,
    precision: torch.dtype = torch.float32,
) -> Gaps:
    """Return the gaps of `images` (N, C, H, W) float32, from one pass of `network`.

    Mean and standard deviation are of each image, over height x width, with the unbiased variance.
    Statistics are taken at the input of each BatchNorm, so no order of layers is assumed.
    output: whether the network's output is needed, and so the part behind the last BatchNorm.
    precision: float32 or bfloat16; of the network, not of the statistics.
    """

    def see(x: Tensor) -> tuple[Tensor, Tensor]:
        return Sums.apply(x.float())

    def normalise(call: int, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, total, squares = NormaliseAndSum.apply(x, *targets.affine[call])
        return y, (total, squares)

    with computed_in(precision, network, images.device):
        calls = None if output else targets.layers
        seen, returned = see_inputs(network, images, see, calls, normalise)
    totals, squares = zip(see(images), *seen, strict=True)
    mean = torch.cat(totals, 1).flatten(1) / targets.pixels
    variance = torch.cat(squares, 1).flatten(1) / (targets.pixels - 1)
    deviation = torch.sqrt(variance + targets.epsilon)
    returned = None if returned is None else returned.float()
    return Gaps(mean - targets.mean, deviation - targets.deviation, returned)


def optimise(
    start: Tensor, loss: Callable[[Tensor], Tensor], schedule: Schedule, context: Context
) -> Calibration:
    """Return what `start` (N, C, H, W) becomes by making `loss` of it small.

    Raises BenchError at a step whose loss is not finite.
    """
    images = start.to(context.device, memory_format=context.memory_format, copy=True)
    images.requires_grad_(True)
    optimizer = Adam([images], lr=schedule.learning_rate)
    scheduler = ReduceLROnPlateau(
        optimizer, patience=schedule.patience, min_lr=schedule.min_learning_rate
    )
    curve: list[float] = []
    for step in range(schedule.iterations):
        curve.append(improve(images, loss, optimizer))
        if not isfinite(curve[-1]):
            raise BenchError(
                f"the loss is {curve[-1]} at step {step + 1}; lower the method's learning rate"
            )
        scheduler.step(curve[-1])
        context.progress(step + 1, schedule.iterations, curve[-1])
    return Calibration(images.detach().contiguous().cpu(), curve)


def improve(images: Tensor, loss: Callable[[Tensor], Tensor], optimizer: Optimizer) -> float:
    """Take one step of `optimizer`, which holds `images`; return the loss before it."""
    now = loss(images)
    (images.grad,) = torch.autograd.grad(now, images)
    optimizer.step()
    return now.item()
