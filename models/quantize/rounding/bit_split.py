"""Bit-Split and Stitching (Wang et al., ICML 2020) of one layer."""

from dataclasses import dataclass
from typing import Literal

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.rounding.planes import MIN_BITS, alternate, optimise, split


@dataclass(frozen=True)
class BitSplit(Rounding):
    """Each bit of a weight in turn, so that the layer's output stays what it was.

    The grid is the method's own: symmetric, a step for each output channel, which is optimised too.

    epochs: passes over all bits. The release does 100; most is gained in the first ten.
    variant: `release` has inputs and outputs of the float network, so layers do not know of each
        other. `sequential`: the inputs are those that the already quantized layers give, as in
        AdaRound.
    """

    name = "bit_split"
    version = 2

    epochs: int = 10
    variant: Literal["release", "sequential"] = "release"

    @property
    def inputs(self) -> Inputs:
        return "float" if self.variant == "release" else "quantized"

    def check(self, weight_format: WeightFormat) -> None:
        wanted = {"scheme": "symmetric", "granularity": "channel", "range_estimator": "minmax"}
        keys = {"scheme": "w_scheme", "granularity": "w_granularity", "range_estimator": "w_range"}
        for field, value in wanted.items():
            if getattr(weight_format, field) != value:
                raise NotApplicable(
                    f"quant.rounding=bit_split has a grid of its own, symmetric and per channel; "
                    f"set quant.{keys[field]}={value}"
                )
        if weight_format.bits < MIN_BITS:
            raise NotApplicable(
                f"quant.rounding=bit_split cannot do {weight_format.bits} bits: a sign and one "
                f"digit leave nothing to stitch; give {MIN_BITS} or more"
            )

    def quantize(self, layer: Layer) -> Rounded:
        assert layer.problem is not None
        gram, cross = layer.problem
        weight = layer.weight.reshape(cross.shape)
        start = split(alternate(weight, layer.format.bits), layer.format.bits)
        # X is what enters the layer; Y = X W less the error of the unchanged weight.
        stitched = optimise(start, gram, weight @ gram - cross, self.epochs)
        return Rounded(stitched.weight.view_as(layer.weight))
