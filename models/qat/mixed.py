"""Quantizers whose number of bits is learned: it follows from their step and their range."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.qat.learned import RANGE_BOUNDS, LearnedStepRange
from models.qat.quantizer import grid_steps, integers
from models.qat.surrogate import Surrogate
from models.quantize.rounding.steps import dot

MARGIN = 1e-5
"""What step and range keep from each other, and from their bounds."""

_ABOVE_ONE = 1 + 2.0**-23
_BELOW_ZERO = -(2.0**-126)


class MixedStepRange(LearnedStepRange):
    """`LearnedStepRange` as a part of a network whose size is learned.

    Its bits are those of the largest integer round(xmax / d), and one for the sign: see
    `models.qat.bits`. What it is made for, `bits`, is only where it starts.

    As in the released code of Schaefer et al. (WACV 2024; quant.py, parametric_d_xmax, and
    examples/train_utils.py), a step or range out of its bounds is used as if it were in them, which
    leaves it without a gradient until `project`; gradients are not limited here, since the limit is
    on their sum with that of the size; and `project` keeps MARGIN between all of them.
    """

    def __init__(
        self,
        bits: Sequence[int],
        surrogate: Surrogate,
        signed: bool,
        xmax: Tensor,
        bounds: tuple[float, float],
    ) -> None:
        super().__init__(bits, surrogate, signed, xmax, bounds)
        for each in self.bits:  # without the bounds
            self.restart(each, each, torch.where(xmax == 0, 1.0, xmax))

    @torch.no_grad()
    def restart(self, bits: int, start: int, xmax: Tensor | None = None) -> None:
        """Begin with a grid of `start` bits in the place of `bits`.

        xmax: of the grid; None: as it is.
        """
        if xmax is not None:
            self.xmax[str(bits)].copy_(xmax)
        self.step[str(bits)].copy_(self.xmax[str(bits)] / integers(start, self.signed)[1])

    def grid(self, bits: int) -> tuple[Tensor, Tensor]:
        """Return step and range as they are used, within their bounds."""
        step, xmax = self.step[str(bits)], self.xmax[str(bits)]
        return step.clamp(*self.bounds), xmax.clamp(*RANGE_BOUNDS)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        step, xmax = self.grid(bits)
        surrogate = self.surrogate.over(grid_steps(bits, self.signed))
        quantized: Tensor = _FakeQuantize.apply(x, step, xmax, self.signed, surrogate)
        return quantized

    @torch.no_grad()
    def project(self) -> None:
        """Put d below xmax and both within their bounds, MARGIN apart; one above is exchanged."""
        for bits in self.bits:
            step, xmax = self.step[str(bits)], self.xmax[str(bits)]
            below, above = xmax - MARGIN, step + MARGIN
            step.copy_(torch.minimum(step, below)).clamp_(*_within(self.bounds))
            xmax.copy_(torch.maximum(xmax, above)).clamp_(*_within(RANGE_BOUNDS))


def _within(bounds: tuple[float, float]) -> tuple[float, float]:
    return bounds[0] + MARGIN, bounds[1] - MARGIN


class _FakeQuantize(torch.autograd.Function):
    """d round(clip(x) / d) as one operation: written out it takes five times as long.

    With v = clip(x) / d and the surrogate's scale s, the gradient is scale for x within the range,
    round(v) - s v for d, and s sign(x) beyond the range for xmax; at a limit half of it goes to x
    and half to xmax, as in JAX.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, xmax: Tensor, signed: bool, surrogate: Surrogate
    ) -> Tensor:
        low = -xmax if signed else torch.zeros_like(xmax)
        v = torch.clamp(x, low, xmax).div_(step)
        q = v.round()
        ctx.save_for_backward(x, v, q, step, xmax)
        ctx.grid = (signed, surrogate)
        return q * step

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, v, q, step, xmax = ctx.saved_tensors
        signed, surrogate = ctx.grid
        scaled = gradient
        if surrogate.name != "ste":
            scaled = gradient * surrogate.scale(v - q, gradient.sign())
        of_x = _inside(scaled, x / xmax, signed)
        if not ctx.needs_input_grad[1]:
            return of_x, None, None, None, None
        beyond = scaled - of_x
        if step.numel() == 1:
            of_step = (dot(gradient, q) - dot(scaled, v)).view(step.shape)
            of_xmax = dot(beyond, v).view(xmax.shape)
        else:
            of_step = (gradient * q).addcmul_(scaled, v, value=-1).sum_to_size(step.shape)
            of_xmax = beyond.mul_(v).sum_to_size(xmax.shape)
        # Beyond the range v is xmax / d with the sign of x, or 0.
        return of_x, of_step, of_xmax * (step / xmax), None, None


def _inside(gradient: Tensor, share: Tensor, signed: bool) -> Tensor:
    """Return `gradient` where `share` is between the ends of -1..1 or 0..1, its half at them."""
    between = torch.ops.aten.hardtanh_backward
    low, below = (-1.0, -_ABOVE_ONE) if signed else (0.0, _BELOW_ZERO)
    strictly: Tensor = between(gradient, share, low, 1.0)
    return strictly.add_(between(gradient, share, below, _ABOVE_ONE)).mul_(0.5)
