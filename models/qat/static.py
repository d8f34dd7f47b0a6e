"""A quantizer whose range is not trained: of weights and of activations."""

from collections.abc import Sequence

from torch import Tensor

from models.qat.quantizer import Levels, Quantizer, clip, grid_steps, integers
from models.qat.surrogate import Surrogate
from models.quantize.scales import STEP_BITS


class UniformStatic(Quantizer):
    """A range xmax that stays where it starts, the same at every bit-width.

    x^ = d round(clip(x, -xmax, xmax) / d) with d = xmax / (2^(b-1) - 1) where signed, else clipped
    to [0, xmax] with d = xmax / (2^b - 1). Source: the released code of Schaefer et al. (WACV 2024;
    quant.py, uniform_static), which its stored configurations at a fixed 3 bits have.

    xmax: one value a grid, shaped to broadcast with x; 0 stands for 1, as in the release.
    """

    xmax: Tensor

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, signed: bool, xmax: Tensor
    ) -> None:
        self.lowest_bits = 2 if signed else 1
        super().__init__(bits, surrogate, signed)
        self.register_buffer("xmax", xmax.masked_fill(xmax == 0, 1.0))

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        step = self.xmax / integers(bits, self.signed)[1]
        surrogate = self.surrogate.over(grid_steps(bits, self.signed))
        return surrogate.round(clip(x, self.xmax, self.signed) / step) * step

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        return self.xmax.numel() * STEP_BITS

    def levels(self, bits: int) -> Levels:
        top = integers(bits, self.signed)[1]
        return Levels((self.xmax / top).item(), -top if self.signed else 0, top)
