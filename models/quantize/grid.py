"""The uniform integer grid, in plain tensor operations.

`torch.fake_quantize_*` is not used: it refuses zero points outside the integer range, which the
ZeroQ release's weight grids need, and plain operations fuse when a network is compiled.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.quantize.pieces import pieces, worth_pieces

_MIN_WIDTH = 1e-8  # of a range; the ZeroQ release's guard against a constant tensor


class Grid(NamedTuple):
    """Values (q + zero_point) / inverse_scale for the integers q in q_min..q_max.

    Every field is a float32 tensor that broadcasts against what is quantized. inverse_scale is
    in integer steps per unit of the input; zero_point is integral but may lie outside
    q_min..q_max, as in the ZeroQ release. steps is q_max - q_min, and top is q_max + zero_point:
    compiled code would take them anew for every few values.
    """

    inverse_scale: Tensor
    zero_point: Tensor
    q_min: Tensor
    q_max: Tensor
    steps: Tensor
    top: Tensor


def affine_grid(low: Tensor, high: Tensor, bits: int) -> Grid:
    """Grid of 2^b levels over [low, high].

    s = (2^b - 1) / (high - low) is its inverse scale, round(s low) + 2^(b-1) its zero point.
    Source: ZeroQ release, quant_utils.py (asymmetric linear quantization). Zero is on the grid
    when it is inside the range, and is not forced into it.
    """
    inverse_scale = (2**bits - 1) / torch.clamp(high - low, min=_MIN_WIDTH)
    zero_point = torch.round(inverse_scale * low) + 2 ** (bits - 1)
    return _with_levels(inverse_scale, zero_point, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def symmetric_grid(low: Tensor, high: Tensor, bits: int) -> Grid:
    """Grid of 2^bits - 1 levels over [-T, T], T = max(|low|, |high|), with zero point 0.

    Where `low` is nowhere negative the sign would waste half the levels: then it is the affine
    grid over [0, T].
    """
    threshold = torch.maximum(low.abs(), high.abs())
    if not bool((low < 0).any()):
        return affine_grid(torch.zeros_like(threshold), threshold, bits)
    top = 2 ** (bits - 1) - 1
    inverse_scale = top / torch.clamp(threshold, min=_MIN_WIDTH)
    return _with_levels(inverse_scale, torch.zeros_like(inverse_scale), -top, top)


GRIDS = {"affine": affine_grid, "symmetric": symmetric_grid}


def fake_quantize(x: Tensor, grid: Grid) -> Tensor:
    """Return `x` rounded (ties to even) and clamped to `grid`; same shape and dtype."""
    if grid.inverse_scale.dim() == 0 and worth_pieces(x):
        return _by_pieces(x, grid)
    q = (grid.inverse_scale * x).sub_(grid.zero_point).round_()
    if torch.compiler.is_compiling():
        # The same integers by other means: a ReLU is one instruction, a maximum with its care for
        # NaN four. Uncompiled it would be two more passes over the tensor.
        above_min = torch.relu(q - grid.q_min)
        below_max = torch.relu(grid.steps - above_min)
        return (grid.top - below_max) / grid.inverse_scale
    # On a CPU torch.clamp with tensors as bounds takes several times as long.
    q = torch.minimum(torch.maximum(q, grid.q_min), grid.q_max)
    return q.add_(grid.zero_point).div_(grid.inverse_scale)


def _by_pieces(x: Tensor, grid: Grid) -> Tensor:
    """Return the same, to the last bit; seven passes over memory become one."""
    # Bounds alone are numbers: for the rest a number is dearer than a tensor of one.
    bounds = grid.q_min.item(), grid.q_max.item()
    quantized = torch.empty_like(x)
    for values, q in pieces(x, quantized):
        torch.mul(values, grid.inverse_scale, out=q)
        q.sub_(grid.zero_point).round_().clamp_(*bounds)
        q.add_(grid.zero_point).div_(grid.inverse_scale)
    return quantized


def value_range(x: Tensor, channel_dim: int | None) -> tuple[Tensor, Tensor]:
    """Return (min, max) of `x`: scalars, or by channel and shaped to broadcast with `x`.

    channel_dim: the axis of the channels, counted from the end where it is negative.
    """
    if channel_dim is None:
        low, high = torch.aminmax(x)
        return low, high
    dims = [d for d in range(x.dim()) if d != channel_dim % x.dim()]
    return x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)


def _with_levels(inverse_scale: Tensor, zero_point: Tensor, q_min: int, q_max: int) -> Grid:
    low, high = zero_point.new_tensor(q_min), zero_point.new_tensor(q_max)
    return Grid(inverse_scale, zero_point, low, high, high - low, high + zero_point)
