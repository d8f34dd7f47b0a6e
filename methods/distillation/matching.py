"""Statistics of images at each BatchNorm of a network, and what they are to be."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.distillation.batchnorm import (
    calls_in_order,
    check_statistics,
    running_statistics,
    scale_and_shift,
    see_inputs,
)
from methods.distillation.precision import computed_in
from methods.distillation.sums import NormaliseAndSum, Sums


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


class Statistics(NamedTuple):
    """Mean and unbiased variance of each image's maps, both (N, K), and the network's output."""

    mean: Tensor
    variance: Tensor
    output: Tensor | None


class Gaps(NamedTuple):
    """Each image's statistics less their targets, both (N, K), and what the network returned."""

    mean: Tensor
    deviation: Tensor
    output: Tensor | None


def targets_of(network: nn.Module, image: Tensor, epsilon: float, trained: bool = True) -> Targets:
    """Return what the statistics of images are to match; `image` (1, C, H, W) is run once.

    epsilon: added to every variance before the root, in place of the layer's own.
    trained: whether statistics as before any training are refused.

    Raises BenchError for running statistics that cannot be of any data, NotApplicable where there
    is nothing to match.
    """
    if trained:
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
    """Return the gaps of `images`; the arguments are those of `statistics_of`."""
    return image_gaps(targets, statistics_of(targets, network, images, output, precision))


def statistics_of(
    targets: Targets,
    network: nn.Module,
    images: Tensor,
    output: bool = False,
    precision: torch.dtype = torch.float32,
) -> Statistics:
    """Return the statistics of `images` (N, C, H, W) float32, from one pass of `network`.

    Mean and variance are of each image, over height x width.
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
        sums, returned = see_inputs(network, images, see, calls, normalise)
    totals, squares = zip(see(images), *sums, strict=True)
    mean = torch.cat(totals, 1).flatten(1) / targets.pixels
    variance = torch.cat(squares, 1).flatten(1) / (targets.pixels - 1)
    return Statistics(mean, variance, None if returned is None else returned.float())


def image_gaps(targets: Targets, statistics: Statistics) -> Gaps:
    """Return the gaps of each image's mean and standard deviation, (N, K)."""
    deviation = torch.sqrt(statistics.variance + targets.epsilon)
    mean = statistics.mean - targets.mean
    return Gaps(mean, deviation - targets.deviation, statistics.output)


def batch_gaps(targets: Targets, statistics: Statistics) -> Gaps:
    """Return the gaps of mean and standard deviation over the pixels of all images, (1, K).

    The variance is the biased one, as BatchNorm normalises with: that within the images and that
    of their means.
    """
    within = statistics.variance * ((targets.pixels - 1) / targets.pixels)
    between = statistics.mean.var(0, correction=0, keepdim=True)
    deviation = torch.sqrt(within.mean(0, keepdim=True) + between + targets.epsilon)
    mean = statistics.mean.mean(0, keepdim=True)
    return Gaps(mean - targets.mean, deviation - targets.deviation, statistics.output)
