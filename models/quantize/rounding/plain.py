"""Roundings that look at each weight alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.quantize.ranges import quantize_weight
from models.quantize.rounding.base import GridRounding, Layer, Rounded, Rounding


@dataclass(frozen=True)
class Nearest(Rounding):
    """To the nearest value of the grid, ties to even."""

    name = "nearest"

    def quantize(self, layer: Layer) -> Rounded:
        return Rounded(quantize_weight(layer.weight, layer.format))


@dataclass(frozen=True)
class Floor(GridRounding):
    """To the next value below, or the lowest of the grid."""

    name = "floor"

    def integers(self, steps: Tensor, layer: Layer) -> Tensor:
        return steps.floor()


@dataclass(frozen=True)
class Ceil(GridRounding):
    """To the next value above, or the highest of the grid."""

    name = "ceil"

    def integers(self, steps: Tensor, layer: Layer) -> Tensor:
        return steps.ceil()


@dataclass(frozen=True)
class Stochastic(GridRounding):
    """Up with the probability of the distance to the value below, so that the mean stays.

    AdaRound's opening figure: some draws are far better than the nearest (Nagel et al., ICML 2020,
    table 1).
    """

    name = "stochastic"

    def integers(self, steps: Tensor, layer: Layer) -> Tensor:
        draw = torch.rand(steps.shape, generator=layer.generator).to(steps)
        return (steps + draw).floor()
