"""How far the statistics of generated images are from those of a network's BatchNorms.

A layer is a call of a BatchNorm, in call order; K counts the channels of all of them, those of the
image first, which are not matched.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from methods.distillation.matching import (
    Statistics,
    Targets,
    image_gaps,
    statistics_of,
    targets_of,
)
from methods.distillation.slack import Margins, enhancement, percentiles, slack_loss

_CHUNK = 64  # images at a time
_EPSILON = 1e-6  # of deviations of one image, which may be 0


class StatisticsLoss(Protocol):
    """What the statistics of a batch cost, (); `targets` is what they are to be."""

    targets: Targets

    def __call__(self, statistics: Statistics) -> Tensor: ...


class BatchGaps(NamedTuple):
    """Mean and biased variance over the pixels of all images, less the running ones; both (K,)."""

    mean: Tensor
    variance: Tensor


def batch_gaps(targets: Targets, statistics: Statistics) -> BatchGaps:
    """Return the gaps of a batch, as its BatchNorms would normalise it."""
    within = statistics.variance * ((targets.pixels - 1) / targets.pixels)
    between = statistics.mean.var(0, correction=0)
    variance = within.mean(0) + between
    mean = statistics.mean.mean(0)
    return BatchGaps(mean - targets.mean, variance - targets.deviation.square())


def by_layer(targets: Targets, values: Tensor) -> Tensor:
    """Return the sums of `values` (K,) over the channels of each layer, (layers,)."""
    image, *channels = targets.channels
    counts = torch.tensor(channels, device=values.device)
    layer = torch.arange(len(channels), device=values.device).repeat_interleave(counts)
    return values.new_zeros(len(channels)).index_add(0, layer, values[image:])


class Matched:
    """The mean over layers of MSE(mean) + MSE(variance), over the channels of each.

    Source: GDFQ (Xu et al., ECCV 2020; released code, trainer.py): the batch's statistics, and
    variances, not deviations.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self.targets = targets_of(network, image, 0.0)
        self.channels = torch.tensor(self.targets.channels[1:], device=image.device)

    def per_layer(self, statistics: Statistics) -> Tensor:
        gaps = batch_gaps(self.targets, statistics)
        squares = gaps.mean.square() + gaps.variance.square()
        return by_layer(self.targets, squares) / self.channels

    def __call__(self, statistics: Statistics) -> Tensor:
        return self.per_layer(statistics).mean()


class SlackOfRelease:
    """||(|mean gap| - m)||^2 + ||(|variance gap| - n)||^2: the margins are targets.

    The mean over layers; in layer l the gaps of channel number l are multiplied by the root of 2
    (`enhance`).
    Source: the released code of DSG (quantization_aware_training/trainer.py).

    margins: m and n, (layers,) each.
    """

    def __init__(self, targets: Targets, margins: tuple[Tensor, Tensor], enhance: bool) -> None:
        self.targets = targets
        zero = margins[0].new_zeros(1)
        self.margins = BatchGaps(*(targets.per_channel(torch.cat([zero, m])) for m in margins))
        self.weights = torch.ones_like(self.margins.mean)
        if enhance:
            start = targets.channels[0]
            for layer, count in enumerate(targets.channels[1:]):
                if layer < count:
                    self.weights[start + layer] = 2.0
                start += count

    def per_layer(self, statistics: Statistics) -> Tensor:
        gaps = batch_gaps(self.targets, statistics)
        excess = [(gap.abs() - m) ** 2 for gap, m in zip(gaps, self.margins, strict=True)]
        return by_layer(self.targets, self.weights * (excess[0] + excess[1]))

    def __call__(self, statistics: Statistics) -> Tensor:
        return self.per_layer(statistics).mean()


class SlackOfPaper:
    """Of each image's |gap| of mean and deviation only what exceeds a margin, squared and summed.

    Image j counts layer j modulo their number twice (`enhance`). The mean over images and layers.
    Source: DSG (CVPR 2021), slack distribution alignment and layerwise sample enhancement, as in
    `methods.dsg`; that it is the same for a generator is an assumption.
    """

    def __init__(self, targets: Targets, margins: tuple[Tensor, Tensor], enhance: bool) -> None:
        self.targets, self.enhance = targets, enhance
        zero = margins[0].new_zeros(1)
        self.margins = Margins(*(targets.per_channel(torch.cat([zero, m])) for m in margins))

    def __call__(self, statistics: Statistics) -> Tensor:
        images = len(statistics.mean)
        weights = torch.ones_like(statistics.mean)
        if self.enhance:
            weights = enhancement("paper", images, self.targets).to(weights.device)
        weights[:, : self.targets.channels[0]] = 0
        gaps = image_gaps(self.targets, statistics)
        return slack_loss(gaps, self.margins, weights) / self.targets.layers


def slack(
    network: nn.Module, noise: Tensor, variant: str, percentile: float | None, enhance: bool
) -> StatisticsLoss:
    """Return the slack loss of a variant, its margins a percentile of the gaps of `noise`.

    noise: (N, C, H, W) of N(0, 1). percentile: 0..1, over the channels of a layer and of the
    release over batches of 64 images, of the paper over images; None for no margins.
    """
    image, paper = noise[:1], variant == "paper"
    targets = targets_of(network, image, _EPSILON if paper else 0.0)
    found: list[Tensor] = []
    for chunk in noise.split(_CHUNK):
        with torch.no_grad():
            statistics = statistics_of(targets, network, chunk)
            if paper:
                of_images = image_gaps(targets, statistics)
                pair = torch.stack([of_images.mean, of_images.deviation])
            else:
                pair = torch.stack([*batch_gaps(targets, statistics)])[:, None]
        found.append(pair.abs().cpu())
    gaps = torch.cat(found, 1)
    level = 0.0 if percentile is None else percentile
    mean, spread = (percentiles(gap, targets, level)[1:].to(noise) for gap in gaps)
    margins = (mean, spread) if percentile is not None else (mean * 0, spread * 0)
    if paper:
        return SlackOfPaper(targets, margins, enhance)
    return SlackOfRelease(targets, margins, enhance)
