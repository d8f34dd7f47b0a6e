"""What weight and activation quantizers share: the integer grid, and rounding that is trained."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.qat.surrogate import Surrogate
from models.quantize.rounding.steps import dot
from models.quantize.scales import STEP_BITS
from models.quantize.spec import FLOAT_BITS

SMALLEST_STEP = 1e-8
"""Keeps the division by a step finite."""


def integers(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of a grid: two's complement, or from 0."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


class Levels(NamedTuple):
    """The values that a tensor is rounded to: `step` times the whole numbers low..high."""

    step: float
    low: int
    high: int


def grid_steps(bits: int, signed: bool) -> int:
    """Return the steps between the ends of a grid that is symmetric, or that starts at 0."""
    top = integers(bits, signed)[1]
    return 2 * top if signed else top


def fake_quantize_learnable(
    x: Tensor, step: Tensor, q_min: int, q_max: int, surrogate: Surrogate
) -> Tensor:
    """Return step * clip(round(x / step), q_min, q_max), trained through the surrogate.

    step: its magnitude counts; broadcasts with x. With u = x / step and the surrogate's scale, the
    gradient is scale for x and round(u) - scale u for step where q_min < u < q_max; elsewhere it is
    0 and the integer that u is clipped to.
    """
    step = step.abs().clamp(min=SMALLEST_STEP)
    quantized: Tensor = _FakeQuantize.apply(x, step, q_min, q_max, surrogate)
    return quantized


def clip(x: Tensor, xmax: Tensor, signed: bool) -> Tensor:
    """Return `x` clipped to [-xmax, xmax] where signed, else to [0, xmax].

    At a limit half of the gradient goes to x and half to the limit, as in JAX.
    """
    low = -xmax if signed else torch.zeros_like(xmax)
    return torch.minimum(torch.maximum(x, low), xmax)


def used_step(step: Tensor) -> float:
    """Return the one `step` as `fake_quantize_learnable` takes it."""
    return step.detach().abs().clamp(min=SMALLEST_STEP).item()


class Quantizer(nn.Module):
    """forward(x, bits): `x` fake-quantized to `bits`; 32 bits is `x` itself.

    bits: the bit-widths it is made for. What it learns is private to a bit-width, so that training
    at one leaves the others as they are.
    Raises BenchError for 1 bit where that leaves no positive level, and in forward for a bit-width
    that it is not made for.
    """

    lowest_bits = 1

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, signed: bool) -> None:
        super().__init__()
        self.bits = tuple(b for b in bits if b != FLOAT_BITS)
        self.surrogate = surrogate
        self.signed = signed
        if self.bits and min(self.bits) < self.lowest_bits:
            raise BenchError(
                f"{type(self).__name__} has no positive level at {min(self.bits)} bit; "
                f"give at least {self.lowest_bits}"
            )

    def forward(self, x: Tensor, bits: int) -> Tensor:
        if bits == FLOAT_BITS:
            return x
        if bits not in self.bits:
            raise BenchError(
                f"{type(self).__name__} is made for {list(self.bits)} bits, not for {bits}"
            )
        return self.quantize(x, bits)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        raise NotImplementedError

    def bits_in_use(self, bits: int) -> int | Sequence[float]:
        """Return the bits of the grid in the place of `bits`, or those of each output channel.

        They are others where they are learned.
        """
        return bits

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        """Return what reading `weight`, quantized to `bits`, takes beside it, in bits.

        That is a step for each grid, of most quantizers one, and what else there is of
        `models.quantize.scales`. weight: (out, ...), of which only the shape counts.
        """
        return STEP_BITS

    def levels(self, bits: int) -> Levels:
        """Return what the one grid used at `bits` comes to; it is that of a whole tensor.

        Raises NotApplicable for a quantizer that does not say.
        """
        raise NotApplicable(
            f"{type(self).__name__} does not say which step its values are multiples of (levels), "
            "so that there are no integers to be stored"
        )

    def ranges(self, bits: int) -> list[float]:
        """Return the learned range of each grid used at `bits`; of other quantizers nothing."""
        return []

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        """Give every bit-width the range that `source` has. Without effect where it has none."""

    @torch.no_grad()
    def project(self) -> None:
        """Put what is learned back into its bounds; to be called after an optimizer step."""


class _FakeQuantize(torch.autograd.Function):
    """It as one operation: written out, its backward pass takes twice as long."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, q_min: int, q_max: int, surrogate: Surrogate
    ) -> Tensor:
        # What is beyond the grid is at one of its ends, where the gradient is 0 all the same.
        u = (x / step).clamp_(q_min, q_max)
        q = u.round()
        ctx.save_for_backward(u, q, step)
        ctx.grid = (q_min, q_max, surrogate)
        return q * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        (gradient,) = gradients
        u, q, step = ctx.saved_tensors
        q_min, q_max, surrogate = ctx.grid
        # The gradient where q_min < u < q_max, else 0, in one pass.
        of_x = torch.ops.aten.hardtanh_backward(gradient, u, q_min, q_max)
        if surrogate.name != "ste":
            of_x = of_x * surrogate.scale(u - q, gradient.sign())
        of_step = None
        if ctx.needs_input_grad[1]:
            if step.numel() == 1:
                of_step = (dot(gradient, q) - dot(of_x, u)).view(step.shape)
            else:
                of_step = (gradient * q).addcmul_(of_x, u, value=-1).sum_to_size(step.shape)
        return of_x, of_step, None, None, None
