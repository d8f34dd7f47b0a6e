"""Value-aware quantization (Park, Yoo and Vajda, ECCV 2018) of one layer."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer, Rounded, Rounding

_LARGE_BITS = 16


@dataclass(frozen=True)
class Outlier(Rounding):
    """The largest weights are kept in 16 bits, and the grid of the others ends where they begin.

    The threshold is the value at rank int((1 - ratio) n) of the n magnitudes that are not 0; what
    is below is rounded, ties away from 0, to multiples of threshold / (2^(b-1) - 1). Written from
    the paper and from EunhyeokPark/OutlierQuant, ol_module.py and ol_op/src/ol_function.cu, whose
    large values are float32; here they are float16.

    Size: a code of b bits for each weight, and for each large one its 16 bits and its place,
    ceil(log2 n) bits of the n weights of the layer. Tables usually leave both out.

    ratio: of the weights that are not 0, those that are kept; at least one of each grid.
    """

    name = "outlier"

    ratio: float = 0.01

    def check(self, weight_format: WeightFormat) -> None:
        for key, field, value in (
            ("w_scheme", "scheme", "symmetric"),
            ("w_range", "range_estimator", "minmax"),
        ):
            if getattr(weight_format, field) != value:
                raise NotApplicable(
                    "quant.rounding=outlier has a symmetric grid that ends at its own threshold; "
                    f"set quant.{key}={value}"
                )

    def quantize(self, layer: Layer) -> Rounded:
        weight, bits = layer.weight, layer.format.bits
        rows = weight.flatten(1) if layer.format.granularity == "channel" else weight.reshape(1, -1)
        ends = threshold(rows, self.ratio)
        is_large = (rows.abs() >= ends) & (rows != 0)
        step = ends / (2 ** (bits - 1) - 1)
        codes = (rows.abs() / step.where(step > 0, 1) + 0.5).floor()
        large = rows.half().to(rows)
        if not bool(large.isfinite().all()):
            raise NotApplicable(
                "quant.rounding=outlier keeps large weights in float16, and one is beyond 65504"
            )
        rounded = torch.where(is_large, large, codes * step * rows.sign())
        place_bits = math.ceil(math.log2(weight.numel()))
        more = int(is_large.sum()) * (_LARGE_BITS + place_bits)
        return Rounded(rounded.view_as(weight), size_bits=weight.numel() * bits + more)


def threshold(rows: Tensor, ratio: float) -> Tensor:
    """Return the magnitude from which on values of each row (C, n) are large, (C, 1)."""
    ordered = rows.abs().sort(1).values
    zeros = (ordered == 0).sum(1, keepdim=True)
    others = rows.shape[1] - zeros
    rank = ((1 - ratio) * others.double()).long().clamp(max=others - 1)
    return ordered.gather(1, (zeros + rank).clamp(max=rows.shape[1] - 1))
