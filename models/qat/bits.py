"""The number of bits that a learned step and a learned range come to."""

from typing import Any

import torch
from torch import Tensor


def bits_of_ratio(step: Tensor, xmax: Tensor, signed: bool | Tensor, lowest: float = 1) -> Tensor:
    """Return max(ceil(log2(round(xmax / step) + 1)) + signed, lowest), a float for each pair.

    ceil and round are straight-through; at `lowest` half of the gradient is left, below it nothing.
    step, xmax: positive, of one shape. signed: of all of them, or 0. or 1. for each.
    Source: the released code of Schaefer et al. (WACV 2024; quant.py, parametric_d_xmax).
    """
    ratio = xmax / step
    whole = ratio.round()
    smooth = torch.log2(_StraightThrough.apply(ratio, whole) + 1)
    # Exact, where a logarithm may lie above the integer that it is.
    bits = _StraightThrough.apply(smooth, torch.frexp(whole.detach()).exponent.to(ratio.dtype))
    return torch.maximum(bits + signed, torch.full_like(bits, lowest))


class _StraightThrough(torch.autograd.Function):
    """`value`, with the gradient of `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
