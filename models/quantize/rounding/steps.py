"""Learned steps of activation quantizers (LSQ), the zero point of each fixed."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from models.quantize.activation import ActivationQuantizer
from models.quantize.rounding.dropped import kept

_SMALLEST = 1e-8


class LearnedSteps:
    """The steps of some quantizers, each starting at that of its calibrated range.

    The grid of a quantizer is n step, n = n_min..n_max with 0 among them: its zero point says which
    n and stays as it is. Gradients are those of the releases of BRECQ (quant_layer.py) and QDrop
    (util_quant.py): of x where x rounds to one of these n, else 0; of the step round(u) - u there,
    u = x / step, and elsewhere the n that u is clipped to. Steps follow Adam, whose rate falls to
    0 by half a cosine; LSQ's factor on the gradient would make no difference to it.

    drop: the probability with which a value passes as it is (QDrop). draws: a random generator on
        the device of the activations.
    """

    def __init__(
        self,
        quantizers: Mapping[str, ActivationQuantizer],
        rate: float,
        drop: float = 0.0,
        draws: torch.Generator | None = None,
    ) -> None:
        self.quantizers = list(quantizers.values())
        self._rate, self._drop, self._draws = rate, drop, draws
        grids = [q.grid for q in self.quantizers]
        self.steps = [grid.inverse_scale.reciprocal().requires_grad_() for grid in grids]
        self._bounds = [(float(g.q_min + g.zero_point), float(g.top)) for g in grids]
        self._optimizer = Adam(self.steps, lr=rate, fused=True) if self.steps else None

    def forward(self, quantizer: ActivationQuantizer, _: object) -> Callable[[Tensor], Tensor]:
        """Return what `quantizer` computes while its step is learned."""
        place = next(i for i, q in enumerate(self.quantizers) if q is quantizer)
        step, (n_min, n_max) = self.steps[place], self._bounds[place]

        def quantize(x: Tensor) -> Tensor:
            mask = kept(x, self._drop, self._draws) if self._drop > 0 else None
            quantized: Tensor = _Quantize.apply(x, step, n_min, n_max, mask)
            return quantized

        return quantize

    def descend(self, gradients: list[Tensor], done: float) -> None:
        """Take a step of Adam. gradients: by each step. done: the part that is over, 0..1."""
        if self._optimizer is None:
            return
        for step, gradient in zip(self.steps, gradients, strict=True):
            step.grad = gradient
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * 0.5 * (1 + math.cos(math.pi * done))
        self._optimizer.step()
        with torch.no_grad():
            for step in self.steps:
                step.clamp_(min=_SMALLEST)

    def keep(self) -> None:
        """Give the quantizers the ranges that the steps have come to."""
        with torch.no_grad():
            for quantizer, step, (low, high) in zip(
                self.quantizers, self.steps, self._bounds, strict=True
            ):
                quantizer.set_range(step.detach() * low, step.detach() * high)


class _Quantize(torch.autograd.Function):
    """step clip(round(x / step), n_min, n_max), or `x` where `kept` is 0."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, n_min: float, n_max: float, kept: Tensor | None
    ) -> Tensor:
        u = x * step.reciprocal()
        n = u.round().clamp_(n_min, n_max)
        ctx.save_for_backward(u, n, kept)
        ctx.bounds = (n_min - 0.5, n_max + 0.5)
        quantized = n * step
        return quantized if kept is None else torch.lerp(x, quantized, kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (gradient,) = gradients
        u, n, kept = ctx.saved_tensors
        of_n = gradient if kept is None else gradient * kept
        of_x = torch.ops.aten.hardtanh_backward(of_n, u, *ctx.bounds)
        of_step = dot(of_n, n) - dot(of_x, u)
        if kept is not None:
            of_x = of_x.add_(gradient).sub_(of_n)
        return of_x, of_step, None, None, None


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of a * b, without the product in memory where both have one dense layout."""
    if a.stride() != b.stride():
        return (a * b).sum()
    if a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
