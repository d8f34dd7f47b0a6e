"""Rounding whose derivative, zero almost everywhere, is replaced by a surrogate.

The gradient of the rounded value is passed on to what was rounded, times a scale that depends on
t = x - round(x), the distance to the grid point in steps (-0.5..0.5), and on the sign of the
gradient g. With delta the strength:

    ste       1                                          Bengio et al., arXiv 1308.3432
    pbgs      1 + delta |t|                              after Kim et al., arXiv 2005.11035
    ewgs      1 + delta sign(g) t                        Lee et al., arXiv 2104.00903
    acos      1 + delta f sin(pi t)
    tanh      1 + delta f sign(g) tanh(4 t)
    invtanh   1 + delta f sign(g) arctanh(1.9 t)

Two are noise, drawn for each value at each step, with which the others are compared:

    gaussian_noise   1 + delta n, n of N(0, 1)
    uniform_noise    1 + delta u, u of -0.5..0.5

Source: Schaefer et al., "Edge Inference with Fully Differentiable Quantized Mixed Precision Neural
Networks" (WACV 2024). Their released code (quant.py) has f = 0.5 for acos and tanh, and
f = 0.5 / arctanh(0.95) for invtanh, which bounds the last three by delta / 2 like ewgs: variant
`release`. The formulas as they are printed elsewhere (slides of a seminar on the paper) have f = 1
and leave the slopes 4 and 1.9 open: variant `slides`, with the slopes of the code. The code draws
the key of its noise where a step is traced: a compiled one has the same noise at every step.

The form of pbgs is that code's as well, which says it is "like" the paper it names. The release of
ewgs measures the distance as a fraction of the range (custom_modules.py, inputs in 0..1), so the
same delta is weaker there by the number of steps in the range: delta_unit `range`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.errors import BenchError
from models.qat.spec import DELTA_UNITS, NOISES, SURROGATES, VARIANTS
from models.registry import did_you_mean

DELTA = 1e-2

_TANH_SLOPE = 4.0
_ARCTANH_SLOPE = 1.9

# (t, sign of the gradient) to (scale - 1) / (delta f).
_SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ste": lambda t, sign: torch.zeros_like(t),
    "pbgs": lambda t, sign: t.abs(),
    "ewgs": lambda t, sign: sign * t,
    "acos": lambda t, sign: torch.sin(math.pi * t),
    "tanh": lambda t, sign: sign * torch.tanh(_TANH_SLOPE * t),
    "invtanh": lambda t, sign: sign * torch.arctanh(_ARCTANH_SLOPE * t),
    # Of PyTorch's own generator, whose state a training keeps with its checkpoints.
    "gaussian_noise": lambda t, sign: torch.randn_like(t),
    "uniform_noise": lambda t, sign: torch.rand_like(t) - 0.5,
}
SIGNED = ("ewgs", "tanh", "invtanh")
"""Those that look at the sign of the gradient."""

_RELEASE_FACTORS = {"acos": 0.5, "tanh": 0.5, "invtanh": 0.5 / math.atanh(_ARCTANH_SLOPE / 2)}


@dataclass(frozen=True)
class Surrogate:
    """A named surrogate with its strength and constants. Raises BenchError for an unknown name.

    delta_unit: what delta is for a distance of: 1 `step` of the grid, or the whole `range` of it.
    """

    name: str = "ste"
    delta: float = DELTA
    variant: str = "release"
    delta_unit: str = "step"

    def __post_init__(self) -> None:
        if self.name not in (known := (*SURROGATES, *NOISES)):
            raise BenchError(f"unknown surrogate {self.name!r}; {did_you_mean(self.name, known)}")
        if self.variant not in VARIANTS:
            raise BenchError(
                f"unknown variant {self.variant!r} of the surrogate gradients; "
                f"{did_you_mean(self.variant, VARIANTS)}"
            )
        if self.delta_unit not in DELTA_UNITS:
            raise BenchError(
                f"unknown delta_unit {self.delta_unit!r} of the surrogate gradients; "
                f"{did_you_mean(self.delta_unit, DELTA_UNITS)}"
            )

    def over(self, steps: int) -> "Surrogate":
        """Return the surrogate for a grid of `steps` steps between its ends, delta in steps."""
        if self.delta_unit == "step":
            return self
        return replace(self, delta=self.delta / steps, delta_unit="step")

    def scale(self, t: Tensor, sign: Tensor) -> Tensor:
        """Return the factor on the gradient; see `gradient_scale`."""
        factor = _RELEASE_FACTORS.get(self.name, 1.0) if self.variant == "release" else 1.0
        return 1 + self.delta * factor * _SHAPES[self.name](t, sign)

    def round(self, x: Tensor) -> Tensor:
        """Return `x` rounded, ties to even, as torch.round does."""
        rounded: Tensor = _Rounding.apply(x, torch.round, 0.0, self)
        return rounded

    def floor(self, x: Tensor, top: int) -> Tensor:
        """Return the largest whole number that is neither above `x` nor above `top`.

        x: at most top + 1. The surrogate sees the distance to the middle of the interval that
        falls on one number, so it is in -0.5..0.5 here too.
        """
        rounded: Tensor = _Rounding.apply(x, partial(_floor, top=top), 0.5, self)
        return rounded


def gradient_scale(
    name: str, t: Tensor, sign: Tensor, delta: float = DELTA, variant: str = "release"
) -> Tensor:
    """Return the factor that the surrogate `name` puts on a gradient.

    t: distances to the grid point in steps, -0.5..0.5. sign: of the gradient, -1, 0 or 1, same
    shape as t. delta: strength. variant: `release` or `slides`.
    Raises BenchError for an unknown name or variant.
    """
    return Surrogate(name, delta, variant).scale(t, sign)


def _floor(x: Tensor, top: int) -> Tensor:
    return torch.floor(x).clamp_(max=top)


class _Rounding(torch.autograd.Function):
    """Apply a rounding; multiply the gradient by the surrogate's scale.

    shift: the distance from a rounded number to the middle of what is rounded to it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        rounding: Callable[[Tensor], Tensor],
        shift: float,
        surrogate: Surrogate,
    ) -> Tensor:
        rounded = rounding(x)
        ctx.surrogate = surrogate
        if surrogate.name != "ste" and ctx.needs_input_grad[0]:
            ctx.save_for_backward(x - rounded - shift)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        if ctx.surrogate.name != "ste":
            (t,) = ctx.saved_tensors
            gradient = gradient * ctx.surrogate.scale(t, gradient.sign())
        return gradient, None, None, None
