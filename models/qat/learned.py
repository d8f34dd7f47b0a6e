"""Quantizers that learn their step, or their step and range: of weights and of activations."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.qat.bits import bits_of_ratio
from models.qat.quantizer import (
    SMALLEST_STEP,
    Levels,
    Quantizer,
    clip,
    fake_quantize_learnable,
    grid_steps,
    integers,
    used_step,
)
from models.qat.surrogate import Surrogate
from models.quantize.scales import STEP_BITS, index_bits

STEP_BOUNDS = (2.0**-12, 1.0)
"""Of a learned step with a learned range; the upper one is 8 for activations."""
ACTIVATION_STEP_BOUNDS = (2.0**-12, 8.0)
RANGE_BOUNDS = (2.0**-8, 127.0)


class LearnedStep(Quantizer):
    """Learned step size quantization (LSQ), one step s a bit-width.

    x^ = s clip(round(x / s), Q_min, Q_max), on -2^(b-1)..2^(b-1)-1 where signed, else 0..2^b-1. The
    gradient of s is multiplied by 1 / sqrt(n Q_max). Source: Esser et al., "Learned Step Size
    Quantization" (arXiv 1902.08153), sections 2.1 and 2.2. Repositories count more values in n:
    all weights of a layer where each channel has a step (lsq-net), and those of all images of a
    batch; their gradients of s are smaller by the root of the number of channels or of images.

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
        tops = {str(b): integers(b, signed)[1] for b in self.bits}
        starts = {name: 2 * magnitude / top**0.5 for name, top in tops.items()}
        self.step = nn.ParameterDict({n: s.clamp(min=SMALLEST_STEP) for n, s in starts.items()})

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        q_min, q_max = integers(bits, self.signed)
        step = self.step[str(bits)]
        count = x[0].numel() if self.by_image else x.numel() // step.numel()
        step = _ShapeGradient.apply(step, (count * q_max) ** -0.5, None)
        surrogate = self.surrogate.over(q_max - q_min)
        return fake_quantize_learnable(x, step, q_min, q_max, surrogate)

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        return self.step[str(bits)].numel() * STEP_BITS

    def levels(self, bits: int) -> Levels:
        return Levels(used_step(self.step[str(bits)]), *integers(bits, self.signed))

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        if source in self.bits:
            ranges = self.step[str(source)] * integers(source, self.signed)[1]
            for bits in self.bits:
                self.step[str(bits)].copy_(ranges / integers(bits, self.signed)[1])


class LearnedStepRange(Quantizer):
    """Learned step d and learned range xmax, from which the number of bits follows.

    x^ = d round(clip(x, -xmax, xmax) / d) where signed, else clipped to [0, xmax]. Each bit-width
    has a pair of its own that starts on a grid of that many bits. The gradients of d and xmax are
    limited to -d..d.
    Source: Uhlich et al., "Mixed Precision DNNs: All you need is a good parametrization"
    (arXiv 1905.11452), the parametrization by d and xmax; bounds, start and limit as in the
    released code of Schaefer et al. (WACV 2024; quant.py, parametric_d_xmax), d not restricted to
    powers of two. A surrogate whose delta is of the range takes the range to have as many steps as
    at the start.

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
        start = torch.where(xmax == 0, 1.0, xmax)  # as in the release
        tops = {str(b): integers(b, signed)[1] for b in self.bits}
        self.step = nn.ParameterDict({name: start / top for name, top in tops.items()})
        self.xmax = nn.ParameterDict({name: start.clone() for name in tops})
        self.project()

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        step, xmax = self._learned(bits)
        surrogate = self.surrogate.over(grid_steps(bits, self.signed))
        return surrogate.round(clip(x, xmax, self.signed) / step) * step

    @torch.no_grad()
    def bits_in_use(self, bits: int) -> int | list[int]:
        if bits not in self.bits:
            return bits
        found = bits_of_ratio(self.step[str(bits)], self.xmax[str(bits)], self.signed)
        each = [int(value) for value in found.flatten().tolist()]
        return each[0] if len({*each}) == 1 else each

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        """Return what steps and the index of channels' bits take; no integer needs the range."""
        found = self.bits_in_use(bits)
        index = 0 if isinstance(found, int) else index_bits(found)
        return self.step[str(bits)].numel() * STEP_BITS + index

    def grid(self, bits: int) -> tuple[Tensor, Tensor]:
        """Return step and range as they are used."""
        return self.step[str(bits)], self.xmax[str(bits)]

    @torch.no_grad()
    def levels(self, bits: int) -> Levels:
        step, xmax = self.grid(bits)
        top = int((xmax / step).round())
        return Levels(step.item(), -top if self.signed else 0, top)

    def ranges(self, bits: int) -> list[float]:
        return self.xmax[str(bits)].flatten().tolist() if bits in self.bits else []

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
        """Clamp d and xmax to their bounds, then d to at most xmax.

        The release (train_utils.py) swaps a d above xmax with it, and keeps 1e-5 between all of
        them.
        """
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
