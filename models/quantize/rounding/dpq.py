"""Differentiable product quantization of a table of embeddings (Chen et al., ICML 2020).

The paper trains codes and centroids together with a network, as method `dpq` does. Here the table
is there already, the weight (n, d) of a linear layer or of embeddings, and codes and centroids are
trained to stand for it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.embeddings.learning import Learning, learn
from models.embeddings.product import Kind, ProductQuantizer, cut
from models.embeddings.sizes import affordable_centroids, stored_bits
from models.embeddings.start import k_means
from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding


@dataclass(frozen=True)
class _ProductQuantized(Rounding):
    """Each part of a row becomes one of few centroids, which are learned together with the codes.

    There is no grid: the bits of the format are a budget, as of `product`. A layer has the largest
    power of two of centroids whose codes and 32-bit numbers take at most so many bits a weight, and
    at most as many as there are pieces.

    iterations, rate, batch: of the learning, see `Learning`; the rate is in units of the root mean
        square of the weight, and a step sees `batch` rows.
    block: its last number is the columns of a part.
    centroids: where given, so many (a power of two) whatever the bits.
    variant: `release`: the response is normalized over a batch; `paper`: it is not, and `dpq_vq`
        takes the nearest centroid.
    shared: whether all parts have the same centroids.
    objective: what is to stay: `table`, the rows, or `output`, what they give on the inputs of the
        float network.
    """

    kind: ClassVar[Kind]

    iterations: int = 10_000
    rate: float = 1e-3
    batch: int = 32
    block: tuple[int, int, int] = (1, 4, 4)
    centroids: int | None = None
    variant: str = "release"
    shared: bool = False
    objective: str = "output"

    @property
    def inputs(self) -> Inputs:
        return "float" if self.objective == "output" else "none"

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        return 0  # there is no grid: codebooks are in the size

    def quantize(self, layer: Layer) -> Rounded:
        weight = layer.weight
        parts = self._parts(weight)
        rows, columns = weight.shape
        count = self._count(rows, columns, parts, layer.format.bits)
        scale = weight.square().mean().sqrt().clamp(min=torch.finfo(weight.dtype).tiny)
        table = weight / scale
        pieces = cut(table, parts)
        start = k_means(
            pieces.reshape(-1, 1, columns // parts) if self.shared else pieces,
            count,
            layer.generator,
        )
        quantizer = ProductQuantizer(
            self.kind,
            parts,
            start,
            start if self.kind == "sx" else None,
            batchnorm=self.variant == "release",
        )
        metric = None if layer.problem is None else layer.problem.gram[0]
        how = Learning(self.iterations, self.rate, self.batch)
        learned = learn(table, quantizer, how, layer.generator, metric)
        return Rounded(
            learned * scale, stored_bits(rows, columns, parts, count, shared=self.shared)
        )

    def _parts(self, weight: Tensor) -> int:
        if weight.dim() != 2:
            raise NotApplicable(
                f"quant.rounding={self.name} is for tables, the weights of linear layers and of "
                f"embeddings, and not for a convolution's of {tuple(weight.shape)}; leave those in "
                "float, as with quant=fp32 quant.last_bits=2"
            )
        size, columns = self.block[2], weight.shape[1]
        if columns % size:
            raise NotApplicable(
                f"quant.rounding={self.name}: parts of {size} columns do not divide the {columns} "
                "of a table; make the last number of quant.rounding_block a divisor"
            )
        return columns // size

    def _count(self, rows: int, columns: int, parts: int, bits: int) -> int:
        most = rows * parts if self.shared else rows
        if self.centroids is not None:
            if self.centroids > most:
                raise NotApplicable(
                    f"quant.rounding_centroids={self.centroids}: {most} pieces of a table share "
                    f"centroids; give at most {most}"
                )
            return self.centroids
        count = affordable_centroids(rows, columns, parts, bits, shared=self.shared)
        if not count:
            raise NotApplicable(
                f"quant.rounding={self.name}: {bits} bits a weight do not pay for two centroids of "
                f"each of {parts} parts of {rows} rows; give more bits, larger parts "
                "(quant.rounding_block), or quant.rounding_shared=true"
            )
        return count


@dataclass(frozen=True)
class ProductSoftmax(_ProductQuantized):
    """DPQ-SX: codes by the softmax of dot products with keys, values of their own."""

    name = "dpq_sx"
    kind = "sx"


@dataclass(frozen=True)
class ProductVector(_ProductQuantized):
    """DPQ-VQ: codes by the distance to centroids that are keys and values."""

    name = "dpq_vq"
    kind = "vq"
