"""What the distilling methods share: statistics per image, their targets, the optimisation."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from methods.base import Calibration, Context
from methods.batchnorm import calls_in_order, check_statistics, running_statistics, see_inputs
from models.errors import BenchError

# Larger temporaries than these 4 MiB fall out of the cache, and the largest are new pages each
# time: up to 8 times slower.
_CHUNK = 2**20


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
    """

    channels: tuple[int, ...]
    pixels: Tensor
    mean: Tensor
    deviation: Tensor
    epsilon: float

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
    for layer, pixels in calls_in_order(network, image):
        mean, variance = running_statistics(layer)
        parts.append((mean, variance, torch.full_like(mean, pixels)))
    means, variances, counts = zip(*parts, strict=True)
    return Targets(
        channels=tuple(map(len, means)),
        pixels=torch.cat(counts),
        mean=torch.cat(means),
        deviation=torch.sqrt(torch.cat(variances) + epsilon),
        epsilon=epsilon,
    )


def gaps_to(targets: Targets, network: nn.Module, images: Tensor, output: bool = False) -> Gaps:
    """Return the gaps of `images` (N, C, H, W), from one pass of `network`.

    Mean and standard deviation are of each image, over height x width, with the unbiased variance.
    Statistics are taken at the input of each BatchNorm, so no order of layers is assumed.
    output: whether the network's output is needed, and so the part behind the last BatchNorm.
    """
    calls = None if output else targets.layers
    seen, returned = see_inputs(network, images, _Sums.apply, calls)
    totals, squares = zip(_Sums.apply(images), *seen, strict=True)
    mean = torch.cat(totals, 1).flatten(1) / targets.pixels
    variance = torch.cat(squares, 1).flatten(1) / (targets.pixels - 1)
    deviation = torch.sqrt(variance + targets.epsilon)
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
        now = loss(images)
        (images.grad,) = torch.autograd.grad(now, images)
        optimizer.step()
        curve.append(now.item())
        if not isfinite(curve[-1]):
            raise BenchError(
                f"the loss is {curve[-1]} at step {step + 1}; lower the method's learning rate"
            )
        scheduler.step(curve[-1])
        context.progress(step + 1, schedule.iterations, curve[-1])
    return Calibration(images.detach().contiguous().cpu(), curve)


class _Sums(torch.autograd.Function):
    """(N, C, H, W) to the sum of x and of (x - its mean)^2 over the pixels, both (N, C, 1, 1).

    On a CPU torch.var_mean takes 10 to 50 times as long as reading the tensor, and its gradient
    makes four tensors of that size; here it makes one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.sum(dim=(2, 3), keepdim=True)
        mean = total / (x.shape[2] * x.shape[3])
        ctx.save_for_backward(x, mean)
        size = max(1, _CHUNK * len(x) // x.numel())
        if size >= len(x) or x.device.type != "cpu":
            return total, _squares(x, mean)
        parts = zip(x.split(size), mean.split(size), strict=True)
        return total, torch.cat([_squares(part, of_part) for part, of_part in parts])

    @staticmethod
    def backward(ctx: Any, of_total: Tensor, of_squares: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        slope = of_squares * 2
        offset = torch.addcmul(of_total, slope, mean, value=-1)
        if x.is_contiguous():
            return (x * slope).add_(offset)
        return torch.addcmul(offset, x, slope)  # the faster one in channels-last order only


def _squares(x: Tensor, mean: Tensor) -> Tensor:
    """Return the sum of (x - mean)^2 over the pixels; the loss makes both in one pass."""
    return mse_loss(x, mean.expand_as(x), reduction="none").sum(dim=(2, 3), keepdim=True)
