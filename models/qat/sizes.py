"""The size of what learned grids quantize, as a tensor that their steps and ranges are trained by.

Source: the released code of Schaefer et al. (WACV 2024; examples/train_utils.py): weights count
with the mean bits of their grids, activations with the values of one image.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.qat.bits import bits_of_ratio
from models.qat.layers import QuantizedLayer
from models.qat.mixed import MARGIN, MixedStepRange
from models.qat.network import quantized_layers
from models.quantize.spec import FLOAT_BITS


class Part(NamedTuple):
    """The weight or the input of a layer, whose bits are learned.

    bits: under which its quantizer keeps step and range. values: how many share its grids.
    """

    layer: str
    quantizer: MixedStepRange
    bits: int
    values: int

    @property
    def step(self) -> Tensor:
        return self.quantizer.step[str(self.bits)]

    @property
    def xmax(self) -> Tensor:
        return self.quantizer.xmax[str(self.bits)]


class Fixed(NamedTuple):
    """The weight or the input of a layer, whose bits are not learned."""

    layer: str
    values: int
    bits: int


class Sizes:
    """The size in bits of some parts of a network, and of what else there is beside them.

    parts: one or more.
    """

    def __init__(self, parts: Sequence[Part], others: Sequence[Fixed]) -> None:
        self.parts, self.others = list(parts), list(others)
        self.values = sum(part.values for part in parts) + sum(other.values for other in others)
        fixed = [each.values * each.bits for each in others]
        self.fixed, self.largest_fixed = sum(fixed), max(fixed, default=0)
        device = parts[0].step.device
        counts = [part.step.numel() for part in parts]
        signs = [float(part.quantizer.signed) for part in parts]
        shares = [part.values / count for part, count in zip(parts, counts, strict=True)]
        repeats = torch.tensor(counts, device=device)
        self.signed = torch.tensor(signs, device=device).repeat_interleave(repeats)
        self.share = torch.tensor(shares, device=device).repeat_interleave(repeats)

    def of_layers(self, bits: Callable[[Part], int]) -> dict[str, int]:
        """Return the size of each tensor with `bits` for each part, by the layer's name."""
        learned = {part.layer: part.values * bits(part) for part in self.parts}
        return {each.layer: each.values * each.bits for each in self.others} | learned

    def total_at(self, bits: Callable[[Part], int]) -> int:
        """Return the size of all with `bits` for each part."""
        return self.fixed + sum(part.values * bits(part) for part in self.parts)

    def largest_at(self, bits: Callable[[Part], int]) -> int:
        """Return the size of the largest tensor with `bits` for each part."""
        return max(self.largest_fixed, *(part.values * bits(part) for part in self.parts))

    def bits(self) -> Tensor:
        """Return the bits of each grid, part by part, with a gradient."""
        grids = [part.quantizer.grid(part.bits) for part in self.parts]
        steps = torch.cat([step.reshape(-1) for step, _ in grids])
        ranges = torch.cat([xmax.reshape(-1) for _, xmax in grids])
        return bits_of_ratio(steps, ranges, self.signed)

    def total(self) -> Tensor:
        """Return the size of all, ()."""
        return (self.bits() * self.share).sum() + self.fixed

    def largest(self) -> Tensor:
        """Return the size of the largest tensor, (); each that is as large has the gradient.

        Of parts that have one grid each.
        """
        sizes = self.bits() * self.share
        highest = sizes.detach().amax().clamp(min=self.largest_fixed)
        through = torch.where(sizes.detach() == highest, sizes - sizes.detach(), 0.0)
        return highest + through.sum()

    @torch.no_grad()
    def collapsed(self) -> dict[str, int]:
        """Return how many grids of a layer have a range that is no more than its step."""
        found = {p.layer: int((p.xmax - p.step <= 2 * MARGIN).sum()) for p in self.parts}
        return {layer: count for layer, count in found.items() if count}


def weight_sizes(network: nn.Module) -> Sizes | None:
    """Return the sizes of the weights of a quantizable `network`; None where none is learned."""
    parts, others = list[Part](), list[Fixed]()
    for name, layer in quantized_layers(network).items():
        quantizer, count = layer.weight_quantizer, layer.weight.numel()
        if isinstance(quantizer, MixedStepRange) and layer.fixed_bits is None:
            parts.append(Part(name, quantizer, layer.bits, count))
        else:
            others.append(Fixed(name, count, layer.bits))
    return Sizes(parts, others) if parts else None


def input_sizes(network: nn.Module) -> Sizes | None:
    """Return the sizes of what the layers of `network` read for an image; None as above."""
    parts, others = list[Part](), list[Fixed]()
    for name, layer in quantized_layers(network).items():
        quantizer, count = layer.input_quantizer, layer.input_values
        if isinstance(quantizer, MixedStepRange) and layer.fixed_input_bits is None:
            parts.append(Part(name, quantizer, layer.input_bits, count))
        else:
            bits = FLOAT_BITS if quantizer is None else layer.input_bits
            others.append(Fixed(name, count, bits))
    return Sizes(parts, others) if parts else None


def dead_layers(network: nn.Module) -> list[str]:
    """Return the names of the layers whose weights are all quantized to 0."""
    return [name for name, layer in quantized_layers(network).items() if _is_dead(layer)]


@torch.no_grad()
def _is_dead(layer: QuantizedLayer) -> bool:
    return not bool(layer.quantized_weight().any())
