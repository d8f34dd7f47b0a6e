"""What a quantized network is quantized to: the part of a recipe that the quantizer carries out."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from models.errors import BenchError
from models.registry import did_you_mean

FLOAT_BITS = 32
"""The bit-width that stands for "left in floating point"."""

_BITS = (2, 16)
_CHOICES = {
    "w_scheme": ("affine", "symmetric"),
    "a_scheme": ("affine", "symmetric"),
    "w_granularity": ("channel", "tensor"),
    "a_granularity": ("channel", "tensor"),
    "w_range": ("minmax",),
    "a_range": ("minmax",),
    "sites": ("relu", "all"),
}


@dataclass(frozen=True)
class QuantSpec:
    """Bits, grids and places of a uniform integer quantizer.

    w_bits, a_bits: 2..16, or 32 for float.
    w_scheme, a_scheme: `affine` maps [min, max] to all 2^b levels with a free integer zero point
        (the ZeroQ release); `symmetric` maps [-T, T], T = max |x|, to 2^b - 1 levels with zero
        point 0, and [0, T] to 2^b levels where no value is negative.
    w_granularity, a_granularity: one grid a channel (output channel of a weight, dimension 1 of
        an activation) or one a tensor.
    w_range, a_range: how the clipping range is estimated. Activation ranges always contain 0.
    sites: which activations are quantized. `relu`: outputs of ReLU and ReLU6 modules (the ZeroQ
        release). `all`: the input of every convolution and linear layer, the image included.

    Every convolution and linear weight is quantized; biases and BatchNorm stay float and unfolded.
    Raises BenchError for anything else.
    """

    w_bits: int
    a_bits: int
    w_scheme: str = "affine"
    a_scheme: str = "affine"
    w_granularity: str = "channel"
    a_granularity: str = "tensor"
    w_range: str = "minmax"
    a_range: str = "minmax"
    sites: str = "relu"

    def __post_init__(self) -> None:
        for name in ("w_bits", "a_bits"):
            _check_bits(f"quant.{name}", getattr(self, name))
        for name, options in _CHOICES.items():
            value = getattr(self, name)
            if value not in options:
                close = did_you_mean(str(value), options)
                raise BenchError(f"quant.{name}={value} cannot be represented; {close}")

    @property
    def label(self) -> str:
        """Short form such as `W4A8`."""
        return f"W{self.w_bits}A{self.a_bits}"

    @property
    def is_float(self) -> bool:
        return self.w_bits == self.a_bits == FLOAT_BITS

    def effective(self) -> "QuantSpec":
        """Return the spec with what has no effect at its bit-widths set to the default."""
        idle: dict[str, Any] = {}
        defaults = QuantSpec(FLOAT_BITS, FLOAT_BITS).as_dict()
        if self.w_bits == FLOAT_BITS:
            idle |= {k: v for k, v in defaults.items() if k.startswith("w_")}
        if self.a_bits == FLOAT_BITS:
            idle |= {k: v for k, v in defaults.items() if k.startswith("a_") or k == "sites"}
        return replace(self, **idle)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _check_bits(name: str, bits: object) -> None:
    low, high = _BITS
    if isinstance(bits, bool) or not isinstance(bits, int):
        raise BenchError(
            f"{name}={bits!r} is not a format this quantizer can represent; it makes uniform "
            f"integer grids, so give an integer, {low}..{high} bits or {FLOAT_BITS} for float"
        )
    if bits != FLOAT_BITS and not low <= bits <= high:
        raise BenchError(f"{name}={bits} is impossible; give {low}..{high}, or 32 for float")
