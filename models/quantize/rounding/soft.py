"""The weights of a block between one step down and one step up, learned together."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh_
from torch.optim import Adam

from models.quantize.grid import Grid
from models.quantize.ranges import WeightFormat, weight_grid
from models.quantize.rounding.adaround import (
    STRETCH,
    WARM_UP,
    inverse_rectified_sigmoid,
    regulariser_slope,
)

_FIRST, _LAST = 20.0, 2.0  # exponents of the regulariser


class SoftWeights:
    """The weights of several layers in one vector: w = step (clip(floor + h(V)) + zero point).

    h is AdaRound's rectified sigmoid (eq. 23), and starts at the fraction that the floor leaves.
    All weights are made by two passes over the vector however many layers there are. While it is
    learned the parameters of the network are parts of it.

    parameters: weights (out, in[, kh, kw]) by the name of their layer. formats: by the same names.
    rate: Adam's.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        formats: Mapping[str, WeightFormat],
        rate: float,
    ) -> None:
        self.parameters = list(parameters.values())
        self._names = list(parameters)
        weights = [parameter.detach() for parameter in self.parameters]
        grids = [weight_grid(w, formats[n]) for w, n in zip(weights, self._names, strict=True)]
        starts = [_start(weight, grid) for weight, grid in zip(weights, grids, strict=True)]
        self._inverse_scales = [grid.inverse_scale for grid in grids]
        self._layouts = weights
        self._base, self._slope, self._logits = (
            torch.cat([each[field].flatten() for each in starts]) for field in range(3)
        )
        self._values = torch.empty_like(self._base)
        self._optimizer = Adam([self._logits], lr=rate, fused=True)
        self._up = self._values
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, part in zip(self.parameters, self._values.split(sizes), strict=True):
            parameter.data = part.view(parameter.shape)
            parameter.requires_grad_()

    def place(self) -> None:
        """Make the weights of the network what they are now."""
        low, high = STRETCH
        self._up = hardtanh_(torch.sigmoid(self._logits).mul_(high - low).add_(low), 0, 1)
        torch.addcmul(self._base, self._slope, self._up, out=self._values)

    def descend(self, gradients: Sequence[Tensor], beta: float | None, penalty: float) -> None:
        """Take a step of Adam.

        gradients: of the loss by each weight, as they were placed. beta: the exponent of the
        regulariser, None while it is off. penalty: its weight, lambda.
        """
        slope = torch.cat([gradient.flatten() for gradient in gradients]).mul_(self._slope)
        if beta is not None:
            slope.add_(regulariser_slope(self._up, beta, penalty))
        low, high = STRETCH
        # h' = (h - low) (high - h) / (high - low) between 0 and 1, and 0 where it is clipped.
        slope.mul_(self._up - low).mul_(high - self._up).div_(high - low)
        self._logits.grad = torch.ops.aten.hardtanh_backward(slope, self._up, 0, 1)
        self._optimizer.step()

    @property
    def is_finite(self) -> bool:
        return bool(torch.isfinite(self._logits).all())

    def harden(self) -> dict[str, Tensor]:
        """Round each weight to the side it is nearer to; return the weights by name.

        The network has them from then on, in memory of their own.
        """
        self.place()
        torch.addcmul(self._base, self._slope, (self._up >= 0.5).to(self._up), out=self._values)
        hard: dict[str, Tensor] = {}
        places = zip(self._names, self.parameters, self._layouts, self._inverse_scales, strict=True)
        for name, parameter, layout, inverse_scale in places:
            # The level itself: the same from below and from above, to the last bit.
            level = (parameter.detach() * inverse_scale).round_().div_(inverse_scale)
            hard[name] = torch.empty_like(layout).copy_(level)
            parameter.requires_grad_(False)
            parameter.data = hard[name]
        return hard


def _start(weight: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weight at h = 0, what h = 1 adds, and the V at which it is `weight` itself."""
    steps = grid.inverse_scale * weight - grid.zero_point
    floor = steps.floor()
    fraction = steps - floor
    # Where one step up leaves the grid, nothing is learned.
    inside = (floor >= grid.q_min) & (floor < grid.q_max)
    lowest = torch.minimum(torch.maximum(floor, grid.q_min), grid.q_max)
    base = (lowest + grid.zero_point) / grid.inverse_scale
    return base, inside / grid.inverse_scale, inverse_rectified_sigmoid(fraction)


def annealed_beta(step: int, steps: int) -> float | None:
    """Return the exponent of the regulariser at `step` of `steps`, None while it is off.

    A line from 20 to 2 behind the first fifth, as in the releases of BRECQ and QDrop (AdaRound's
    own falls by half a cosine).
    """
    begin = WARM_UP * steps
    if step < begin:
        return None
    return _LAST + (_FIRST - _LAST) * (1 - (step - begin) / (steps - begin))
