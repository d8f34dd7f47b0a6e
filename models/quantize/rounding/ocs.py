"""Outlier channel splitting (Zhao et al., ICML 2019) of one layer."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat, estimate, quantize_weight
from models.quantize.rounding.base import Layer, Rounded, Rounding
from models.quantize.scales import bits_of_grids

_IMAGE_CHANNELS = 3
_LEAST = 1e-30  # of a threshold, so that a weight of zeros stays one


@dataclass(frozen=True)
class OCS(Rounding):
    """The input channels with the largest weights are split in two, so that the grid gets finer.

    A channel of half weights stands twice in the weight, and its input is given twice. A
    convolution is linear and copies of a channel carry the same values, so what the network
    computes is what one channel with the sum of the quantized halves gives: no layer changes its
    shape here, and the weight that is returned is this sum. The copies are counted in the size,
    which channels they are of with the step; the copies of activations are not.

    One step for the whole weight, symmetric, because the largest weight of all sets it. With
    another `w_range` than min-max it is that of the weight before the split, as with the release's
    clipping, its `--weight-clip-threshold` of 0 and below. Source: the authors' release,
    distiller/quantization/ocs.py. Like there, linear layers, grouped ones and those that see an
    image are not split; they are rounded to the nearest value, and the result says so.

    ratio: of the input channels, those that are split: ceil(ratio x channels); one may be split
        again.
    variant: `release` chooses halves whose rounded values make up the rounded whole (grid aware,
        section 3.3); `naive` halves and rounds.
    """

    name = "ocs"

    ratio: float = 0.01
    variant: Literal["release", "naive"] = "release"

    def check(self, weight_format: WeightFormat) -> None:
        for key, value in (("scheme", "symmetric"), ("granularity", "tensor")):
            if getattr(weight_format, key) != value:
                raise NotApplicable(
                    "quant.rounding=ocs splits what sets the step of a whole symmetric grid; "
                    f"set quant.w_{key}={value}"
                )

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        grids = bits_of_grids(weight_format, len(weight))
        if _why_whole(weight, groups):
            return grids
        channels = weight.shape[1]
        return grids + math.ceil(self.ratio * channels) * (channels - 1).bit_length()

    def quantize(self, layer: Layer) -> Rounded:
        reason = _why_whole(layer.weight, layer.groups)
        if reason:
            nearest = quantize_weight(layer.weight, layer.format)
            return Rounded(nearest, warning=f"rounded to the nearest, not split: {reason}")
        count = math.ceil(self.ratio * layer.weight.shape[1])
        bits = layer.format.bits
        expanded = split(layer.weight, count)
        steps_per_unit = _steps_per_unit(layer, expanded.weight)
        if self.variant == "release":
            expanded = split(layer.weight * steps_per_unit, count, apart=0.5)
        else:
            expanded = expanded._replace(weight=expanded.weight * steps_per_unit)
        codes = expanded.weight.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        summed = torch.zeros_like(layer.weight).index_add(1, expanded.sources, codes)
        return Rounded(summed / steps_per_unit, size_bits=bits * codes.numel())


class Expanded(NamedTuple):
    """A weight after splits.

    weight: (out, in + splits, kh, kw). sources: which input channel each is of, (in + splits,).
    """

    weight: Tensor
    sources: Tensor


def split(weight: Tensor, count: int, apart: float = 0.0) -> Expanded:
    """Split `count` times the input channel of `weight` (out, in, kh, kw) with the largest value.

    The lower half stays in its place, the upper one is appended; a half can be split again.
    Values that are 0 stay 0.

    apart: how far the two halves of a value lie apart. In steps of a grid, half a step makes their
        rounded values sum to the rounded value (Hermite's identity).
    """
    channels = weight.shape[1]
    expanded = torch.cat([weight, weight.new_zeros(len(weight), count, *weight.shape[2:])], 1)
    sources = list(range(channels))
    largest = expanded.abs().amax((0, 2, 3))
    for new in range(channels, channels + count):
        # Of equal ones the first; argmax does not say which.
        channel = int((largest == largest.max()).nonzero()[0])
        half, shift = expanded[:, channel] / 2, (expanded[:, channel] != 0) * (apart / 2)
        expanded[:, channel], expanded[:, new] = half - shift, half + shift
        for place in (channel, new):
            largest[place] = expanded[:, place].abs().max()
        sources.append(sources[channel])
    return Expanded(expanded, torch.tensor(sources, device=weight.device))


def _steps_per_unit(layer: Layer, expanded: Tensor) -> Tensor:
    bits, scheme, _, estimator, _ = layer.format
    if estimator == "minmax":
        threshold = expanded.abs().max()
    else:
        low, high = estimate(layer.weight, estimator, bits, None, scheme)
        threshold = torch.maximum(low.abs(), high.abs())
    return (2 ** (bits - 1) - 1) / threshold.clamp(min=_LEAST)


def _why_whole(weight: Tensor, groups: int) -> str:
    """Return why the weight of a layer is not split, "" for one that is."""
    if weight.dim() != 4:
        return "a linear layer"
    if groups > 1:
        return f"{groups} groups, which a copy of a channel would break"
    return "it sees an image" if weight.shape[1] == _IMAGE_CHANNELS else ""
