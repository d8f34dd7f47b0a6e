"""The affine grid of ZeroQ, trained through: of weights, and of activations with a running range.

Source: the released code of GDFQ (Xu et al., ECCV 2020; quantization_utils/quant_modules.py), whose
quantizer is that of the ZeroQ release (`models.quantize.grid.affine_grid`). The gradient passes
through the rounding as if it were not there, clipped values included.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.qat.quantizer import Levels, Quantizer
from models.qat.surrogate import Surrogate
from models.quantize.grid import affine_grid, fake_quantize, value_range
from models.quantize.scales import STEP_BITS, ZERO_POINT_BITS

KEEP = 0.9
"""What a running range keeps of itself at each batch, in the release."""


class AffineWeight(Quantizer):
    """2^b levels from the smallest to the largest weight, of each output channel or of all.

    Nothing is learned but the weights: the range is that of each step. Unlike in the release a
    channel of equal weights has a range of 1e-8, as in ZeroQ's.
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, granularity: str) -> None:
        super().__init__(bits, surrogate, signed=True)
        self.channel_dim = 0 if granularity == "channel" else None

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        low, high = value_range(x.detach(), self.channel_dim)
        return _as_if_float(x, low, high, bits)

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        grids = 1 if self.channel_dim is None else len(weight)
        return grids * (STEP_BITS + ZERO_POINT_BITS)


class RunningRange(nn.Module):
    """The running mean of the smallest and the largest value of a batch, corrected for its start.

    a = KEEP a + (1 - KEEP) seen, from 0; the range is a / (1 - KEEP^t) after t batches. In the
    release the corrected value takes the place of a (fed_back): then a batch counts more than once,
    and the range of the constant 1 is 5.3 at the second batch, 3,945 at the 21st, 3.6 at the 100th
    and 1.00007 at the 200th.

    range: (2,), low and high; it starts at what it is given.
    """

    range: Tensor
    average: Tensor
    left: Tensor

    def __init__(self, start: Tensor, fed_back: bool) -> None:
        super().__init__()
        self.fed_back = fed_back
        self.register_buffer("range", start.clone())
        self.register_buffer("average", torch.zeros_like(start))
        self.register_buffer("left", torch.ones(()))  # KEEP^t

    @torch.no_grad()
    def see(self, x: Tensor) -> None:
        seen = torch.stack(torch.aminmax(x.detach())).to(self.average.dtype)
        self.left.mul_(KEEP)
        self.average.mul_(KEEP).add_(seen, alpha=1 - KEEP)
        self.range.copy_(self.average / (1 - self.left))
        if self.fed_back:
            self.average.copy_(self.range)


class AffineActivation(Quantizer):
    """2^b levels over a `RunningRange`, one for each bit-width; it runs in training mode.

    start: (2,), low and high before any batch is seen.
    """

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, start: Tensor, fed_back: bool
    ) -> None:
        super().__init__(bits, surrogate, signed=bool(start[0] < 0))
        ranges = {str(b): RunningRange(start, fed_back) for b in self.bits}
        self.running = nn.ModuleDict(ranges)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        running = self.running[str(bits)]
        assert isinstance(running, RunningRange)
        if self.training:
            running.see(x)
        low, high = running.range.unbind()
        return _as_if_float(x, low, high, bits)

    def levels(self, bits: int) -> Levels:
        running = self.running[str(bits)]
        assert isinstance(running, RunningRange)
        least, most = running.range.unbind()
        grid = affine_grid(least, most, bits)
        low = int(grid.q_min + grid.zero_point)
        return Levels(1 / grid.inverse_scale.item(), low, low + int(grid.steps))

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        if source in self.bits:
            state = self.running[str(source)].state_dict()
            for running in self.running.values():
                running.load_state_dict(state)


def _as_if_float(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    quantized: Tensor = _StraightThrough.apply(x, low, high, bits)
    return quantized


class _StraightThrough(torch.autograd.Function):
    """`x` on the affine grid, with the gradient of `x`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
        return fake_quantize(x, affine_grid(low, high, bits))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0], None, None, None
