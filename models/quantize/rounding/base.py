"""What a way of rounding is, and what it is given.

A rounding is one frozen dataclass derived from `Rounding`. Its fields are parameters: `iterations`
is `quant.rounding_iterations`. It sees one layer at a time; `inputs` says which statistics of the
layer's input it is shown.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from models.quantize.ranges import WeightFormat, weight_grid
from models.quantize.rounding.finetune import Finetuning
from models.quantize.rounding.reconstruction import Reconstruction
from models.quantize.scales import bits_of_grids

Inputs = Literal["none", "float", "quantized"]


class Layer(NamedTuple):
    """A convolution or linear layer whose weight is to be rounded.

    weight: (out, in[, kh, kw]), in float.
    format: bits, and how the grid is laid.
    problem: the error of the output as a function of the weight; None for a rounding that looks at
        no inputs.
    generator: a seeded CPU random generator, which goes on from layer to layer.
    groups: of a convolution; 1 of a linear layer.
    """

    weight: Tensor
    format: WeightFormat
    problem: Reconstruction | None
    generator: torch.Generator
    groups: int = 1


class Rounded(NamedTuple):
    """What became of a layer's weight.

    weight: as the quantized network has it; the same shape, in float.
    size_bits: what storing it takes, where that is not the bits of the format for each weight: with
        codebooks, indices, or values of more bits. Steps and zero points are not counted: they are
        `Rounding.scale_bits`.
    warning: what a reader of the cell's number must know, without the name of the layer.
    shared: which weights share a value, as equal numbers of the weight's shape, from 0 up; None
        where nothing is to be finetuned.
    """

    weight: Tensor
    size_bits: int | None = None
    warning: str = ""
    shared: Tensor | None = None


@dataclass(frozen=True)
class Rounding(ABC):
    """How each weight of a layer is brought onto few values.

    version: raise it when a change of the code changes the numbers; it is part of a cell's
        identity.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def inputs(self) -> Inputs:
        """Whose inputs the layer's problem is made of: those of the float network, or what the
        layers before it give that are already quantized. Layers are then taken in call order.
        """
        return "none"

    @property
    def finetuning(self) -> Finetuning | None:
        """How the values that weights share are finetuned on the images; None for not at all."""
        return None

    def check(self, weight_format: WeightFormat) -> None:  # noqa: B027 most can do all
        """Raise NotApplicable for a format that this rounding cannot do."""

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        """Return what reading a layer's weight takes beside it: see `models.quantize.scales`.

        weight: (out, in[, kh, kw]), of which only the shape counts. groups: of a convolution.
        """
        return bits_of_grids(weight_format, len(weight))

    @abstractmethod
    def quantize(self, layer: Layer) -> Rounded:
        """Return what becomes of the layer's weight."""


class GridRounding(Rounding):
    """A rounding to the grid of the format, weight by weight."""

    def quantize(self, layer: Layer) -> Rounded:
        grid = weight_grid(layer.weight, layer.format)
        steps = grid.inverse_scale * layer.weight - grid.zero_point
        q = torch.minimum(torch.maximum(self.integers(steps, layer), grid.q_min), grid.q_max)
        return Rounded((q + grid.zero_point) / grid.inverse_scale)

    @abstractmethod
    def integers(self, steps: Tensor, layer: Layer) -> Tensor:
        """Return which integers `steps`, the weight in steps of its grid, become."""
