"""Range estimators: from the values of a tensor to the interval that is quantized.

Each takes values (C, samples * n), one row a grid, sample by sample, and what they are quantized
to; it returns (low, high), each (C,). All of them clip; the range that does not is
`grid.value_range`. `ema`, `percentile` and, of affine activations, `mse` are calibrators of the DSG
release (quant_modules.py, QuantAct) with its constants; `entropy` is NVIDIA's, `alternating` of the
Bit-Split release, `haq` of HAQ's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize.aciq import clipped
from models.quantize.cumulative import haq_threshold
from models.quantize.entropy import entropy_threshold as _entropy_threshold
from models.quantize.grid import GRIDS, Grid, fake_quantize, value_range
from models.quantize.least_error import Range, both_ends, largest_value, threshold
from models.quantize.omse import MAX_BITS, exact_threshold, shrunk
from models.quantize.rounding.planes import alternate

_PERCENTILE = 99.999
_VALUES = 1_000_000


class Target(NamedTuple):
    """What values are quantized to.

    has_zero: whether the range must contain 0, as that of an activation.
    samples: how many images a row of values is of.
    """

    bits: int
    scheme: str
    has_zero: bool
    samples: int


def ema(values: Tensor, target: Target) -> Range:
    """The mean over samples of each sample's smallest and largest value (the release's default).

    The running average over batches that gives it its name has one term: calibration is one batch.
    """
    by_sample = values.unflatten(1, (target.samples, -1))
    return by_sample.amin(2).mean(1), by_sample.amax(2).mean(1)


def percentile(values: Tensor, target: Target) -> Range:
    """The 0.001st and the 99.999th percentile, interpolated linearly."""
    ends = np.percentile(values.cpu().numpy(), [100 - _PERCENTILE, _PERCENTILE], axis=1)
    low, high = torch.from_numpy(ends).to(values)
    return low, high


def mse(values: Tensor, target: Target) -> Range:
    """The range with the least squared error on the grid that is used."""
    if target.scheme == "symmetric":
        return threshold(values, target.bits)
    return (largest_value if target.has_zero else both_ends)(values, target.bits)


def omse(values: Tensor, target: Target) -> Range:
    """The threshold with the least squared error of all, exactly; see `models.quantize.omse`.

    Raises NotApplicable for affine grids, whose best range nobody has in closed form, and for more
    than 8 bits.
    """
    key = "a" if target.has_zero else "w"
    if target.scheme != "symmetric":
        raise NotApplicable(
            f"quant.{key}_range=omse is the exact optimum of symmetric grids; "
            f"set quant.{key}_scheme=symmetric, or quant.{key}_range=mse"
        )
    if target.bits > MAX_BITS:
        raise NotApplicable(
            f"quant.{key}_range=omse goes through every step that changes a code, up to "
            f"{MAX_BITS} bits and not {target.bits}; set quant.{key}_range=mse"
        )
    return exact_threshold(values, target.bits)


def fq_vit(values: Tensor, target: Target) -> Range:
    """Both ends shrunk by one factor; see `models.quantize.omse.shrunk`."""
    return shrunk(values, target.bits, target.scheme)


def aciq_laplace(values: Tensor, target: Target) -> Range:
    """Where values of a Laplace distribution are best clipped; see `models.quantize.aciq`."""
    return clipped(values, target.bits, "laplace")


def aciq_gauss(values: Tensor, target: Target) -> Range:
    """Where values of a Gauss distribution are best clipped; see `models.quantize.aciq`."""
    return clipped(values, target.bits, "gauss")


def entropy(values: Tensor, target: Target) -> Range:
    """The threshold T whose clipped and quantized |x| is nearest to |x| in KL divergence.

    |x| is counted in 2,048 bins. For each T from as many bins up as there are levels, P is the
    histogram below T with what lies above added to its last bin, and Q the histogram below T merged
    to the levels and spread again over the bins that are not empty; of the T that minimise
    KL(P || Q) the largest is taken. There are 2^(b-1) levels where values have both signs, and 2^b
    where they have one. Sources: Migacz, "8-bit Inference with TensorRT", GTC 2017; nvidia-modelopt
    0.47, calib/histogram.py, _compute_amax_entropy, the same as in pytorch-quantization.

    Unlike there, a T below which fewer bins are filled than there are levels is no candidate:
    nothing is merged there, and one filled bin has a divergence of 0 whatever is clipped. So few
    values, and values of few kinds, keep their largest.

    The range is [-T, T], or of values of one sign the half of it that they are in.
    """
    return _by_size(
        values, target, lambda row, sign: _entropy_threshold(row, 2 ** (target.bits - int(sign)))
    )


def haq(values: Tensor, target: Target) -> Range:
    """The threshold of HAQ's release; see `models.quantize.cumulative`.

    The range is [-T, T], or of values of one sign the half of it that they are in.
    """
    return _by_size(
        values, target, lambda row, sign: haq_threshold(row, target.bits, sign, target.has_zero)
    )


def _by_size(values: Tensor, target: Target, of_row: Callable[[np.ndarray, bool], float]) -> Range:
    """Return [-T, T], or its half, T of each row and of whether its grid has a sign."""
    below, above = ~(values.amin(1) >= 0), ~(values.amax(1) <= 0)  # of NaN, both
    # A symmetric grid has a sign in all rows as soon as one has a negative value.
    signed = below.any().expand_as(below) if target.scheme == "symmetric" else below & above
    thresholds = [
        of_row(row, has_sign)
        for row, has_sign in zip(values.cpu().numpy(), signed.tolist(), strict=True)
    ]
    high = torch.tensor(thresholds).to(values)
    zero = torch.zeros_like(high)
    return torch.where(below, -high, zero), torch.where(above, high, zero)


def alternating(values: Tensor, target: Target) -> Range:
    """The step that is the best for the integers it leads to, times the largest of these.

    From the step that reaches the largest value on: round, then take the step with the least
    squared error for these integers, until it stays; a local optimum. Of values of one sign the
    integers are 0..2^b - 1, as in the release of Bit-Split (models/quan.py, `Quantization`). Of
    values of both, which it does not have, -(2^(b-1) - 1)..2^(b-1) - 1: the range is [-T, T].

    The release looks at 200,000 of the positive values, drawn at random; here it is up to
    1,000,000 of all, evenly spaced.
    """
    finite = values.isfinite().all(1)
    below, above = (values < 0).any(1), (values > 0).any(1)
    stride = max(1, -(-values.numel() // _VALUES))
    sizes = values[:, ::stride].abs().double()[None]

    def largest(bits: int) -> Tensor:
        return alternate(sizes, bits).step[0, :, 0] * (2 ** (bits - 1) - 1)

    reach = torch.where(below & above, largest(target.bits), largest(target.bits + 1)).to(values)
    reach = torch.where(finite, reach, torch.nan)
    zero = torch.where(finite, 0.0, torch.nan).to(values)
    return torch.where(below, -reach, zero), torch.where(above, reach, zero)


ESTIMATORS: dict[str, Callable[[Tensor, Target], Range]] = {
    "ema": ema,
    "percentile": percentile,
    "mse": mse,
    "alternating": alternating,
    "entropy": entropy,
    "haq": haq,
    "omse": omse,
    "fq_vit": fq_vit,
    "aciq_laplace": aciq_laplace,
    "aciq_gauss": aciq_gauss,
}


class WeightFormat(NamedTuple):
    """What one layer's weight is quantized to: see `models.quantize.spec.QuantSpec`.

    channel_bits: of each output channel, where they differ; bits are then the most.
    """

    bits: int
    scheme: str
    granularity: str
    range_estimator: str = "minmax"
    channel_bits: tuple[int, ...] | None = None


def weight_grid(weight: Tensor, weight_format: WeightFormat) -> Grid:
    """Return the grid of `weight` (out, in[, kh, kw])."""
    channel_dim = 0 if weight_format.granularity == "channel" else None
    bits, scheme, _, name, _ = weight_format
    low, high = estimate(weight, name, bits, channel_dim, scheme)
    return GRIDS[scheme](low, high, bits)


def quantize_weight(weight: Tensor, weight_format: WeightFormat) -> Tensor:
    """Return `weight` (out, in[, kh, kw]) rounded to the nearest value of its grid; same shape."""
    return fake_quantize(weight, weight_grid(weight, weight_format))


def estimate(
    x: Tensor,
    name: str,
    bits: int,
    channel_dim: int | None,
    scheme: str = "affine",
    has_zero: bool = False,
) -> Range:
    """Return the range of `x` by the estimator called `name`.

    x: an activation (N, ...) or a weight (out, in[, kh, kw]).
    channel_dim: the axis whose every index has a grid of its own, None for one grid.
    has_zero: whether the grid that is used contains 0, as that of an activation. The range returned
        may not; whoever makes the grid widens it.
    The results are scalars, or with a channel axis shaped to broadcast with `x`.
    """
    if name == "minmax":
        return value_range(x, channel_dim)
    samples = x.shape[0] if channel_dim != 0 else 1
    rows = x.reshape(1, -1) if channel_dim is None else x.movedim(channel_dim, 0).flatten(1)
    low, high = ESTIMATORS[name](rows, Target(bits, scheme, has_zero, samples))
    if channel_dim is None:
        return low.squeeze(0), high.squeeze(0)
    shape = [1] * x.dim()
    shape[channel_dim] = -1
    return low.view(shape), high.view(shape)
