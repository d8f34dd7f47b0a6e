"""Slack around statistics, and the layer that each image weighs more: the two ideas of DSG.

Source: Zhang et al., "Diversifying Sample Generation" (CVPR 2021), and its released code.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from methods.distillation.matching import Gaps, Targets

_RELEASE_ENHANCED = 20  # images and layers, whatever the network and the batch


class Margins(NamedTuple):
    """How far a mean and a deviation may be from their targets at no cost, both (K,)."""

    mean: Tensor
    deviation: Tensor


def enhancement(variant: Literal["paper", "release"], images: int, targets: Targets) -> Tensor:
    """Return how often each image counts each channel's squared excess, (images, K)."""
    weights = torch.ones(images, targets.layers)
    if variant == "paper":
        image = torch.arange(images)
        weights[image, image % targets.layers] = 2
    else:
        image = torch.arange(min(images, targets.layers, _RELEASE_ENHANCED))
        weights[image, image] = 4
    of_the_image = torch.ones(images, 1)
    return targets.per_channel(torch.cat([of_the_image, weights], 1))


def percentiles(gaps: Tensor, targets: Targets, percentile: float) -> Tensor:
    """Return a percentile (0..1) of `gaps` (N, K) for each layer, over images and channels.

    (1 + layers,), the first of which, the image's, is 0. Between two values it is interpolated.
    """
    layers = gaps.split(list(targets.channels), dim=1)[1:]
    return torch.tensor([0.0, *(np.quantile(layer.numpy(), percentile) for layer in layers)])


def slack_loss(gaps: Gaps, margins: Margins | None, weights: Tensor | None) -> Tensor:
    """Weighted sum of squares of what exceeds the margins, over layers; its mean over images.

    (1/N) sum_j sum_l w_jl (||max(|mu_jl - mu_l| - delta_l, 0)||^2 + the same of the deviations).
    weights: (N, K), 1 where None is given. margins: 0 where None is given.
    """
    mean, deviation = gaps.mean, gaps.deviation
    if margins is not None:
        mean = (mean.abs() - margins.mean).clamp(min=0)
        deviation = (deviation.abs() - margins.deviation).clamp(min=0)
    squares = mean.square() + deviation.square()
    return (squares if weights is None else squares * weights).sum() / len(squares)
