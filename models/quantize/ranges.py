"""Range estimators: from the values of a tensor to the interval that is quantized.

Each takes values (C, samples * n), one row a grid, sample by sample, and the number of bits; it
returns (low, high), each (C,). All of them clip; the range that does not is `grid.value_range`.
Names and constants of the first three are those of the DSG release's calibrators
(quant_modules.py, QuantAct); `entropy` is TensorRT's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.quantize.grid import GRIDS, Grid, affine_grid, fake_quantize, value_range

Range = tuple[Tensor, Tensor]

_PERCENTILE = 99.999
_MSE_STEPS = 80
_MSE_SHRINK = 0.01  # of the range, a step
_BINS = 2048


def ema(values: Tensor, bits: int, samples: int) -> Range:
    """The mean over samples of each sample's smallest and largest value (the release's default).

    The running average over batches that gives it its name has one term: calibration is one batch.
    """
    by_sample = values.unflatten(1, (samples, -1))
    return by_sample.amin(2).mean(1), by_sample.amax(2).mean(1)


def percentile(values: Tensor, bits: int, samples: int) -> Range:
    """The 0.001st and the 99.999th percentile, interpolated linearly."""
    ends = np.percentile(values.cpu().numpy(), [100 - _PERCENTILE, _PERCENTILE], axis=1)
    low, high = torch.from_numpy(ends).to(values)
    return low, high


def mse(values: Tensor, bits: int, samples: int) -> Range:
    """The minimum, and of 80 maxima that shrink by 1 % of the range the one with least L2 error."""
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    best, chosen = torch.full_like(high, torch.inf), high
    for step in range(_MSE_STEPS):
        end = high - (high - low) * step * _MSE_SHRINK
        error = (values - fake_quantize(values, affine_grid(low, end, bits))).square()
        error = error.mean(1, keepdim=True)
        chosen = torch.where(error < best, end, chosen)
        best = torch.minimum(best, error)
    return low.squeeze(1), chosen.squeeze(1)


def entropy(values: Tensor, bits: int, samples: int) -> Range:
    """The threshold T whose clipped and quantized |x| is nearest to |x| in KL divergence.

    |x| is counted in 2,048 bins. For each T from 2^(b-1) bins up, P is the histogram below T with
    what lies above added to its last bin, and Q the same merged to 2^(b-1) levels and spread again
    over the bins that are not empty; T minimises KL(P || Q) (Migacz, "8-bit Inference with
    TensorRT", GTC 2017; 128 levels for 8 bits). The range is [0, T] where no value is negative,
    else [-T, T].
    """
    thresholds = [_entropy_threshold(row, 2 ** (bits - 1)) for row in values.cpu().numpy()]
    high = torch.tensor(thresholds).to(values)
    return torch.where(values.amin(1) < 0, -high, torch.zeros_like(high)), high


def _entropy_threshold(values: np.ndarray, levels: int) -> float:
    counts, edges = np.histogram(np.abs(values), bins=_BINS)
    counts[0] = counts[1]  # zero is on every grid, and half of what a ReLU gives is zero
    if edges[-1] <= 0 or levels >= _BINS:
        return float(np.abs(values).max())
    candidates = range(levels, _BINS + 1)
    divergences = [_divergence(counts, end, levels) for end in candidates]
    return float(edges[candidates[int(np.argmin(divergences))]])


def _divergence(counts: np.ndarray, end: int, levels: int) -> float:
    inside = counts[:end].astype(np.float64)
    target = inside.copy()
    target[-1] += counts[end:].sum()
    starts = np.arange(levels) * end // levels
    filled = np.add.reduceat((inside > 0).astype(np.float64), starts)
    means = np.add.reduceat(inside, starts) / np.maximum(filled, 1)
    widths = np.diff([*starts, end])
    spread = np.repeat(means, widths) * (inside > 0)
    if spread.sum() == 0:
        return np.inf
    p, q = target / target.sum(), spread / spread.sum()
    # A clipped tail that falls on an empty last bin has no counterpart in Q: not a candidate.
    shared = p > 0
    if np.any(q[shared] == 0):
        return np.inf
    return float(np.sum(p[shared] * np.log(p[shared] / q[shared])))


ESTIMATORS: dict[str, Callable[[Tensor, int, int], Range]] = {
    "ema": ema,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}


class WeightFormat(NamedTuple):
    """What one layer's weight is quantized to: see `models.quantize.spec.QuantSpec`."""

    bits: int
    scheme: str
    granularity: str
    range_estimator: str = "minmax"


def weight_grid(weight: Tensor, weight_format: WeightFormat) -> Grid:
    """Return the grid of `weight` (out, in[, kh, kw])."""
    channel_dim = 0 if weight_format.granularity == "channel" else None
    low, high = estimate(weight, weight_format.range_estimator, weight_format.bits, channel_dim)
    return GRIDS[weight_format.scheme](low, high, weight_format.bits)


def quantize_weight(weight: Tensor, weight_format: WeightFormat) -> Tensor:
    """Return `weight` (out, in[, kh, kw]) rounded to the nearest value of its grid; same shape."""
    return fake_quantize(weight, weight_grid(weight, weight_format))


def estimate(x: Tensor, name: str, bits: int, channel_dim: int | None) -> Range:
    """Return the range of `x` (N, C, ...) by the estimator called `name`.

    The results are scalars, or for one channel dimension shaped to broadcast with `x`.
    """
    if name == "minmax":
        return value_range(x, channel_dim)
    samples = x.shape[0] if channel_dim != 0 else 1
    rows = x.reshape(1, -1) if channel_dim is None else x.movedim(channel_dim, 0).flatten(1)
    low, high = ESTIMATORS[name](rows, bits, samples)
    if channel_dim is None:
        return low.squeeze(0), high.squeeze(0)
    shape = [1] * x.dim()
    shape[channel_dim] = -1
    return low.view(shape), high.view(shape)
