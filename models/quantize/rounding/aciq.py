"""Bits of their own for the channels of a weight (Banner et al., NeurIPS 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize.grid import affine_grid, fake_quantize
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.rounding.base import Layer, Rounded, Rounding
from models.quantize.scales import bits_of_grids

_HIGHEST = 4  # bits, above which the release gives all channels the same
_OF_CHANNEL = (0, 8)  # fewest and most bits of a channel
_INDEX_BITS = 4  # which of these nine a channel has
_SHIFTS = 10
_TOLERANCE = 0.01  # bits, of the mean


@dataclass(frozen=True)
class ACIQ(Rounding):
    """Each output channel gets bits by its spread, so that their mean is that of the format.

    Levels in proportion to sigma^(2/3) have the least squared error for a given total (section 4.1
    of the paper), rounded to powers of two; each channel is then rounded to the nearest value of
    its own min-max grid. A channel of 0 bits becomes its mean. Size: bits of each channel times
    its weights; which it has, four bits a channel, is counted with the steps.

    Weights are not clipped, as in the authors' release (int_quantizer.py); clipping is that of
    activations, `a_range=aciq_laplace` and `aciq_gauss`, and the correction of the weights'
    mean and variance is `weight_correction`. Layers of more than 4 bits are rounded to the nearest
    value, as in the release, and the result says so.
    """

    name = "aciq"

    def check(self, weight_format: WeightFormat) -> None:
        wanted = (
            ("w_scheme", "scheme", "affine"),
            ("w_granularity", "granularity", "channel"),
            ("w_range", "range_estimator", "minmax"),
        )
        for key, field, value in wanted:
            if getattr(weight_format, field) != value:
                raise NotApplicable(
                    "quant.rounding=aciq gives the channels min-max grids of different bits; "
                    f"set quant.{key}={value}"
                )

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        grids = bits_of_grids(weight_format, len(weight))  # a constant channel has its mean there
        return grids + (0 if weight_format.bits > _HIGHEST else len(weight) * _INDEX_BITS)

    def quantize(self, layer: Layer) -> Rounded:
        bits = layer.format.bits
        if bits > _HIGHEST:
            warning = f"{bits} bits for all channels: they are allocated up to {_HIGHEST} only"
            return Rounded(quantize_weight(layer.weight, layer.format), warning=warning)
        rows = layer.weight.flatten(1)
        of_channels = allocate(rows.std(1, unbiased=rows.shape[1] > 1), bits)
        rounded = rows.mean(1, keepdim=True).expand_as(rows).clone()
        for channel_bits in set(of_channels.tolist()) - {0}:
            channels = of_channels == channel_bits
            chosen = rows[channels]
            ends = chosen.amin(1, keepdim=True), chosen.amax(1, keepdim=True)
            rounded[channels] = fake_quantize(chosen, affine_grid(*ends, channel_bits))
        size = int(of_channels.sum()) * rows.shape[1]
        return Rounded(rounded.view_as(layer.weight), size_bits=size)


def allocate(spreads: Tensor, bits: int) -> Tensor:
    """Return the bits of channels with `spreads` (C,), whole numbers 0..8 with the mean `bits`.

    Rounding and the ends of 0..8 move the mean; what is asked for is moved against it, at most ten
    times, until it is within 0.01, as in the release.
    """
    target = float(bits)
    allocated = _allocate(spreads, target)
    for _ in range(_SHIFTS):
        missing = bits - allocated.mean().item()
        if abs(missing) < _TOLERANCE:
            break
        target += missing
        allocated = _allocate(spreads, target)
    return allocated.int()


def _allocate(spreads: Tensor, bits: float) -> Tensor:
    shares = spreads.double() ** (2 / 3)
    bins = len(spreads) * 2**bits * shares / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)
    return bins.log2().round().clamp(*_OF_CHANNEL)
