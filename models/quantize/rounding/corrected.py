"""Correction of rounded weights by their mean and variance (Banner et al., NeurIPS 2019)."""

from dataclasses import dataclass

from torch import Tensor

from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.scales import STEP_BITS, ZERO_POINT_BITS, bits_of_grids


@dataclass(frozen=True)
class Corrected(Rounding):
    """Another rounding, after which each output channel has the mean of its float weights again.

    No data is needed. The shift and the factor of a channel go into its zero point and its step,
    and are counted as these, one of each a channel.

    correction: `mean` or `mean_variance`.
    """

    name = "corrected"

    rounding: Rounding
    correction: str

    @property
    def inputs(self) -> Inputs:
        return self.rounding.inputs

    def check(self, weight_format: WeightFormat) -> None:
        self.rounding.check(weight_format)

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        own = self.rounding.scale_bits(weight, weight_format, groups)
        grids = bits_of_grids(weight_format._replace(channel_bits=None), len(weight))
        return own - grids + len(weight) * (STEP_BITS + ZERO_POINT_BITS)

    def quantize(self, layer: Layer) -> Rounded:
        rounded = self.rounding.quantize(layer)
        return rounded._replace(weight=correct(rounded.weight, layer.weight, self.correction))


def correct(rounded: Tensor, weight: Tensor, correction: str) -> Tensor:
    """Return `rounded` with the mean of `weight` in each output channel, and with its variance.

    W~ - E[W~] times std W / std W~ where the variance is corrected too, plus E[W] (section 4.2; the
    authors' release, inference_quantization_manager.py, does `mean` in its headline figures). A
    channel that rounding has made constant keeps its factor of 1.

    rounded, weight: (out, in[, kh, kw]).
    """
    rows, wanted = rounded.flatten(1), weight.flatten(1)
    mean = wanted.mean(1, keepdim=True)
    centred = rows - rows.mean(1, keepdim=True)
    if correction == "mean_variance":
        deviation = centred.square().mean(1, keepdim=True).sqrt()
        factor = (wanted - mean).square().mean(1, keepdim=True).sqrt() / deviation
        centred = centred * factor.where(deviation > 0, 1)
    return (centred + mean).view_as(rounded)
