"""What weight and activation quantizers share: the integer grid, learned steps, learned ranges."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.qat.surrogate import Surrogate, ceil_straight_through
from models.quantize.spec import FLOAT_BITS

_SMALLEST = 1e-8  # of a step; keeps the division by it finite

STEP_BOUNDS = (2.0**-12, 1.0)
"""Of a learned step with a learned range; the upper one is 8 for activations."""
ACTIVATION_STEP_BOUNDS = (2.0**-12, 8.0)
RANGE_BOUNDS = (2.0**-8, 127.0)


def integers(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of a grid: two's complement, or from 0."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def fake_quantize(x: Tensor, step: Tensor, q_min: int, q_max: int, surrogate: Surrogate) -> Tensor:
    """Return step * clip(round(x / step), q_min, q_max), trained through the surrogate.

    step: its magnitude counts; broadcasts with x. With u = x / step and the surrogate's scale, the
    gradient is scale for x and round(u) - scale u for step where q_min < u < q_max; elsewhere it is
    0 and the integer that u is clipped to.
    """
    step = step.abs().clamp(min=_SMALLEST)
    quantized: Tensor = _FakeQuantize.apply(x, step, q_min, q_max, surrogate)
    return quantized


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

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        """Give every bit-width the range that `source` has. Without effect where it has none."""

    @torch.no_grad()
    def project(self) -> None:
        """Put what is learned back into its bounds; to be called after an optimizer step."""


class LearnedStep(Quantizer):
    """Learned step size quantization (LSQ), one step s a bit-width.

    x^ = s clip(round(x / s), Q_min, Q_max), on -2^(b-1)..2^(b-1)-1 where signed, else 0..2^b-1. The
    gradient of s is multiplied by 1 / sqrt(n Q_max). Source: Esser et al., "Learned Step Size
    Quantization" (arXiv 1902.08153), sections 2.1 and 2.2.

    magnitude: mean |x| of what will be quantized, one value a step, shaped to broadcast with x; s
        starts at 2 magnitude / sqrt(Q_max).
    by_image: whether dimension 0 of x counts images, so that n is the number of values of one. If
        not, n is the number of values that share a step.
    """

    def __init__(
        self,
        bits: Sequence[int],
        surrogate: Surrogate,
        signed: bool,
        magnitude: Tensor,
        by_image: bool,
    ) -> None:
        # With a sign and 1 bit the largest integer is 0.
        self.lowest_bits = 2 if signed else 1
        super().__init__(bits, surrogate, signed)
        self.by_image = by_image
        self.step = nn.ParameterDict({str(b): torch.empty_like(magnitude) for b in self.bits})
        self.reset(magnitude)

    @torch.no_grad()
    def reset(self, magnitude: Tensor) -> None:
        """Start again from mean |x| = `magnitude`."""
        for bits in self.bits:
            start = 2 * magnitude / integers(bits, self.signed)[1] ** 0.5
            self.step[str(bits)].copy_(start.clamp(min=_SMALLEST))

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        q_min, q_max = integers(bits, self.signed)
        step = self.step[str(bits)]
        count = x[0].numel() if self.by_image else x.numel() // step.numel()
        step = _ShapeGradient.apply(step, (count * q_max) ** -0.5, None)
        return fake_quantize(x, step, q_min, q_max, self.surrogate)

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        if source in self.bits:
            ranges = self.step[str(source)] * integers(source, self.signed)[1]
            for bits in self.bits:
                self.step[str(bits)].copy_(ranges / integers(bits, self.signed)[1])


class LearnedStepRange(Quantizer):
    """Learned step d and learned range xmax, from which the number of bits follows.

    x^ = d round(clip(x, -xmax, xmax) / d) where signed, else clipped to [0, xmax]. Each bit-width
    has a pair of its own that starts on a grid of that many bits; `bit_width` says how many it
    needs by now. The gradients of d and xmax are limited to -d..d.
    Source: Uhlich et al., "Mixed Precision DNNs: All you need is a good parametrization"
    (arXiv 1905.11452), the parametrization by d and xmax; bounds, start and limit as in the
    released code of Schaefer et al. (WACV 2024; quant.py, parametric_d_xmax), d not restricted to
    powers of two.

    bounds: of d; those of xmax are 2^-8..127. xmax: where it starts, one value a grid, shaped to
    broadcast with x; d starts at xmax / (2^(b-1) - 1) where signed, else xmax / (2^b - 1).
    """

    def __init__(
        self,
        bits: Sequence[int],
        surrogate: Surrogate,
        signed: bool,
        xmax: Tensor,
        bounds: tuple[float, float],
    ) -> None:
        self.lowest_bits = 2 if signed else 1
        super().__init__(bits, surrogate, signed)
        self.bounds = bounds
        self.step = nn.ParameterDict({str(b): torch.empty_like(xmax) for b in self.bits})
        self.xmax = nn.ParameterDict({str(b): torch.empty_like(xmax) for b in self.bits})
        self.reset(xmax)

    @torch.no_grad()
    def reset(self, xmax: Tensor) -> None:
        """Start again from the range `xmax`; a range of 0 starts at 1, as in the release."""
        for bits in self.bits:
            start = torch.where(xmax == 0, 1.0, xmax)
            self.xmax[str(bits)].copy_(start)
            self.step[str(bits)].copy_(start / integers(bits, self.signed)[1])
        self.project()

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        step, xmax = self._learned(bits)
        low = -xmax if self.signed else torch.zeros_like(xmax)
        return self.surrogate.round(torch.minimum(torch.maximum(x, low), xmax) / step) * step

    def bit_width(self, bits: int) -> Tensor:
        """Return the bits that the grid started at `bits` needs by now, one value a grid.

        max(ceil(log2(round(xmax / d) + 1)) + sign, 1), sign = 1 where signed, else 0. Gradients
        pass through rounding and ceiling unchanged, so it can be part of a loss.
        """
        step, xmax = self._learned(bits)
        levels = Surrogate("ste").round(xmax / step)
        needed = ceil_straight_through(torch.log2(levels + 1)) + int(self.signed)
        return needed.clamp(min=1)

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        if source in self.bits:
            xmax, step = self.xmax[str(source)].clone(), self.step[str(source)].clone()
            for bits in self.bits:
                coarser = integers(source, self.signed)[1] / integers(bits, self.signed)[1]
                self.xmax[str(bits)].copy_(xmax)
                self.step[str(bits)].copy_(step * coarser)
            self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Clamp d and xmax to their bounds, then d to at most xmax."""
        for bits in self.bits:
            step, xmax = self.step[str(bits)], self.xmax[str(bits)]
            xmax.clamp_(*RANGE_BOUNDS)
            step.copy_(torch.minimum(step.clamp(*self.bounds), xmax))

    def _learned(self, bits: int) -> tuple[Tensor, Tensor]:
        step, xmax = self.step[str(bits)], self.xmax[str(bits)]
        limit = step.detach()
        return _ShapeGradient.apply(step, 1.0, limit), _ShapeGradient.apply(xmax, 1.0, limit)


class _ShapeGradient(torch.autograd.Function):
    """Pass `x` on; multiply its gradient by `factor`, then limit it to -limit..limit."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float, limit: Tensor | None) -> Tensor:
        ctx.factor = factor
        ctx.limit = limit
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        gradient = gradient * ctx.factor
        if ctx.limit is not None:
            gradient = torch.minimum(torch.maximum(gradient, -ctx.limit), ctx.limit)
        return gradient, None, None


class _FakeQuantize(torch.autograd.Function):
    """`fake_quantize` as one operation: written out, its backward pass takes twice as long."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, q_min: int, q_max: int, surrogate: Surrogate
    ) -> Tensor:
        u = x / step
        q = u.clamp(q_min, q_max).round_()
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
            # Beyond the grid t has no meaning, and arctanh no value; the gradient is 0 there.
            of_x = of_x * surrogate.scale((u - q).clamp_(-0.5, 0.5), gradient.sign())
        of_step = None
        if ctx.needs_input_grad[1]:
            if step.numel() == 1:
                of_step = (_dot(gradient, q) - _dot(of_x, u)).view(step.shape)
            else:
                of_step = (gradient * q).addcmul_(of_x, u, value=-1).sum_to_size(step.shape)
        return of_x, of_step, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of a * b, without the product in memory where both have one dense layout."""
    if a.stride() != b.stride():
        return (a * b).sum()
    if a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
