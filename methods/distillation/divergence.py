"""How far the statistics of a batch are from those of a network, as a divergence of Gaussians."""

import torch
from torch import Tensor

from methods.distillation.matching import Gaps, Targets


def gaussian_divergence(targets: Targets, gaps: Gaps) -> Tensor:
    """Return KL(N(mean, deviation^2) of the batch || the running one) of each channel, (K,).

    log(s / d) + (d^2 + (m - mu)^2) / (2 s^2) - 1/2, in nats: m and d of the batch, mu and s what
    they are to be. It is 0 where both are equal, and above elsewhere.

    gaps: of a batch, (1, K).
    """
    (mean,), (deviation,) = gaps.mean, gaps.deviation + targets.deviation
    ratio = deviation / targets.deviation
    away = mean / targets.deviation
    return 0.5 * (ratio.square() + away.square() - 1) - ratio.log()


def mean_over_layers(targets: Targets, values: Tensor) -> Tensor:
    """Return the mean over layers of the mean over channels of `values` (K,); not of the image."""
    image, *layers = targets.channels
    shares = [0.0, *(1 / (len(layers) * channels) for channels in layers)]
    of_channels = targets.per_channel(torch.tensor(shares, device=values.device))
    return (values * of_channels)[image:].sum()
