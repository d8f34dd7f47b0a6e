"""Product quantization: And the Bit Goes Down (Stock et al., ICLR 2020)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.rounding.codebook import (
    affordable_centroids,
    cut,
    joined,
    k_means,
    most_centroids,
    pooled,
    start,
    stored_bits,
)
from models.quantize.rounding.finetune import Finetuning


@dataclass(frozen=True)
class Product(Rounding):
    """Each block of a filter becomes one of few centroids; what is stored is which, and these.

    There is no grid: the bits of the format are a budget. A layer has the largest power of two of
    centroids whose indices and codebook together take at most so many bits a weight, and no more
    than the release's rule allows (`codebook.most_centroids`). The input is what the already
    quantized layers before give, as in the release.

    A layer where not even two centroids fit keeps its weights in float, and takes 32 bits for each.

    epochs: E- and M-steps of a layer; the release does 100.
    block: input channels of a block, in a convolution (whose block has the whole kernel), in one
        of 1 x 1 and in a linear layer. The release's blocks of 9 or 18, of 4 or 8, and of 4. Where
        they do not divide a layer's, the largest number below that does.
    centroids: where given, so many (a power of two) whatever the bits, or what the release's rule
        leaves of them. The release takes 256, and 2,048 or 1,024 in the last layer.
    layer_steps, network_steps, rate: steps of finetuning the centroids after each layer and at the
        end, and the learning rate at the end, see `finetune`; 0 for none.
    """

    name = "product"

    epochs: int = 10
    block: tuple[int, int, int] = (1, 4, 4)
    centroids: int | None = None
    layer_steps: int = 0
    network_steps: int = 0
    rate: float = 1e-2

    @property
    def inputs(self) -> Inputs:
        return "quantized"

    @property
    def finetuning(self) -> Finetuning | None:
        steps = (self.layer_steps, self.network_steps)
        return Finetuning(*steps, self.rate) if any(steps) else None

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        return 0  # there is no grid: codebooks are in the size

    def quantize(self, layer: Layer) -> Rounded:
        assert layer.problem is not None
        weight = layer.weight
        asked = self._channels(weight)
        channels = _largest_divisor(weight.shape[1], asked)
        vectors = cut(weight, channels * math.prod(weight.shape[2:]))
        number, size = vectors.shape
        if self.centroids is None:
            count = affordable_centroids(number, size, layer.format.bits)
        else:
            count = min(self.centroids, most_centroids(number))
        if count < 2:
            reason = f"{number} blocks are too few for a codebook; its weights stay in float"
            return Rounded(weight, weight.numel() * 32, reason)
        first = start(vectors, count, layer.generator)
        made = k_means(vectors, first, pooled(layer.problem.gram, size), self.epochs)
        values = made.centroids.half().to(weight)
        positions = torch.arange(size, device=weight.device)
        shared = made.assignments[:, None] * size + positions
        warning = ""
        if channels != min(asked, weight.shape[1]):
            warning = (
                f"blocks of {asked} input channels do not divide {weight.shape[1]}; they have "
            )
            warning += f"{channels}"
        return Rounded(
            joined(values[made.assignments], weight),
            stored_bits(number, size, count),
            warning,
            joined(shared, weight),
        )

    def _channels(self, weight: Tensor) -> int:
        convolution, pointwise, linear = self.block
        if weight.dim() == 2:
            return linear
        return pointwise if math.prod(weight.shape[2:]) == 1 else convolution


def _largest_divisor(number: int, at_most: int) -> int:
    return next(d for d in range(min(number, at_most), 0, -1) if number % d == 0)
