"""What a network is trained to: the quantizers, where they sit, what each bit-width has alone."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.errors import BenchError
from models.quantize.spec import FLOAT_BITS
from models.registry import did_you_mean

SURROGATES = ("ste", "pbgs", "ewgs", "acos", "tanh", "invtanh")
"""Those that are functions of the distance to the grid point."""
NOISES = ("gaussian_noise", "uniform_noise")
"""Those that are drawn."""
VARIANTS = ("release", "slides")
DELTA_UNITS = ("step", "range")
SCHEMES = ("modified", "original", "centered")
RESCALES = ("constant", "stddev", "mean", "none")

LEARNED_BITS = {"gated": "bayesian_bits", "mixed_step_range": "mixed_step_range"}
"""Quantizers that learn their bits, and the method that knows how."""

_BITS = (1, 16)
_CHOICES = {
    "weight_quantizer": (
        "dorefa",
        "lsq",
        "step_range",
        "uniform_static",
        "mixed_step_range",
        "gated",
        "affine",
    ),
    "scheme": SCHEMES,
    "rescale": RESCALES,
    "granularity": ("tensor", "channel"),
    "activation_quantizer": (
        *("pact", "lsq", "step_range", "uniform_static", "dorefa", "mixed_step_range", "gated"),
        "affine_ema",
    ),
    "weight_surrogate": (*SURROGATES, *NOISES),
    "activation_surrogate": (*SURROGATES, *NOISES),
    "variant": VARIANTS,
    "delta_unit": DELTA_UNITS,
    "signed_inputs": ("observed", "never", "depthwise"),
    "shortcuts": ("quantized", "float", "float_shared"),
    "batchnorm": ("shared", "private", "transitional"),
    "clip_start": ("percentile", "release"),
    "sites": ("inputs", "relu"),
    "range_average": (None, "corrected", "fed_back"),
}
_SWITCHES = ("quantize_images", "shared_clip", "learned", "fix_last_input")

_STRAIGHT_THROUGH = ("affine", "affine_ema")

_NO_POSITIVE_LEVEL = "at 1 bit it has no positive level"
_TWO_BIT_WEIGHTS = ("lsq", "step_range", "uniform_static", "mixed_step_range", "gated", "modified")


@dataclass(frozen=True)
class QatSpec:
    """Quantizers of a network that is trained while quantized, at one or more bit-widths.

    A bit-width is that of the weights and of the inputs of a layer alike; 32 leaves both in float.

    weight_quantizer: `dorefa` (tanh-normalised weights), `lsq` (learned step), `step_range`
        (learned step and range), `uniform_static` (a range that stays where it starts), `affine`
        (from the smallest to the largest weight of the step, the grid of ZeroQ) or
        `mixed_step_range` (learned step and range, and with them the bits; of the method of this
        name alone); see `models.qat.weights`.
    scheme: of `dorefa`, the grid: `modified`, `original` or `centered`.
    rescale: of `dorefa`, the factor on the quantized weights: `constant` (to the standard deviation
        1 / sqrt(out k k)), `stddev` (to that of the float weights), `mean` (times the mean of their
        absolute values) or `none`.
    granularity: of weights but `dorefa`, one grid a `tensor` or one an output `channel`.
    activation_quantizer: `pact`, `lsq`, `step_range`, `uniform_static`, `mixed_step_range`,
        `dorefa` (clamp to [0, 1]) or `affine_ema` (affine, over a running range); see
        `models.qat.activations`. Always one grid a tensor.
    weight_surrogate, activation_surrogate: what stands for the derivative of rounding; see
        `models.qat.surrogate`, which delta (>= 0), delta_unit (`step`, `range`) and variant
        (`release`, `slides`) are of too.
    learned: whether steps, ranges and clips are learned. If not they stay where they start.
    signed_inputs: which inputs have a grid with a sign: where a negative value was `observed`;
        `never`, so that negative values are clipped to 0; or where one was observed and those of
        every `depthwise` convolution.
    first_bits, last_bits: of the first and the last layer called, whatever bit-width the others
        have: 1..16, 32 for float. None: as the others.
    fix_last_input: whether last_bits is of the input of the last layer too, and not of its weights
        alone.
    shortcuts: whether convolutions on shortcuts are `quantized` as others are, or `float`, their
        inputs included; or float with one BatchNorm that all bit-widths have (`float_shared`).
        They are known by the name of a module they are in; see `models.qat.conversion.SHORTCUTS`.
    quantize_images: whether the input of the first layer is quantized. Images are integers of 8
        bits before they are normalised, so by default they are left as they come.
    image_bits: of the images where they are quantized; None: first_bits.
    sites: which activations are quantized: `inputs` of layers, or outputs of `relu` modules (ReLU
        and ReLU6, as the ZeroQ release), which the images, what leaves a linear bottleneck and what
        enters the classifier behind a pooling are not.
    range_average: of `affine_ema`, the running mean: `corrected` (None too) for its start, or
        `fed_back`, the corrected one in the place of the other, as in the GDFQ release.
    input_bits: of the inputs of layers, where they are not those of the weights; the first and the
        last layer keep theirs.
    batchnorm: `shared` by all bit-widths, `private` to each, or `transitional`: one for each pair
        of bit-widths, of a layer and of the one before it.
    clip_start: where the clip of `pact` starts: at the 99.9th `percentile` of |x| seen before
        training, or at 8 (linear layers 10) as in the AdaBits `release`.
    shared_clip: whether all bit-widths share the clip of `pact`.

    Raises BenchError for anything else.
    """

    weight_quantizer: str = "lsq"
    activation_quantizer: str = "pact"
    scheme: str = "modified"
    rescale: str = "constant"
    granularity: str = "tensor"
    weight_surrogate: str = "ste"
    activation_surrogate: str = "ste"
    delta: float = 1e-2
    variant: str = "release"
    first_bits: int | None = 8
    last_bits: int | None = 8
    quantize_images: bool = False
    batchnorm: str = "private"
    clip_start: str = "percentile"
    shared_clip: bool = False
    learned: bool = True
    signed_inputs: str = "observed"
    fix_last_input: bool = True
    shortcuts: str = "quantized"
    delta_unit: str = "step"
    image_bits: int | None = None
    input_bits: int | None = None
    sites: str = "inputs"
    range_average: str | None = None

    def __post_init__(self) -> None:
        for name, options in _CHOICES.items():
            value, known = getattr(self, name), [option for option in options if option]
            if value not in options:
                raise BenchError(f"unknown qat.{name}={value}; {did_you_mean(str(value), known)}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise BenchError(f"qat.{name}={getattr(self, name)!r}; give true or false")
        number = isinstance(self.delta, int | float) and not isinstance(self.delta, bool)
        if not number or not 0 <= self.delta < math.inf:
            raise BenchError(f"qat.delta={self.delta!r}; give a number that is not negative")
        if self.weight_quantizer == "dorefa" and self.granularity != "tensor":
            raise BenchError(
                "qat.granularity=channel has no meaning with qat.weight_quantizer=dorefa, which "
                "normalises by the largest weight of the tensor; use lsq, step_range or "
                "uniform_static"
            )
        for which in ("weight", "activation"):
            surrogate = getattr(self, f"{which}_surrogate")
            quantizer = getattr(self, f"{which}_quantizer")
            if quantizer in _STRAIGHT_THROUGH and surrogate != "ste":
                raise BenchError(
                    f"qat.{which}_surrogate={surrogate} has no meaning with qat.{which}_quantizer="
                    f"{quantizer}, whose gradient passes as it is; use ste"
                )
        if self.sites == "relu" and self.quantize_images:
            raise BenchError(
                "qat.quantize_images has no meaning with qat.sites=relu, which quantizes no input "
                "of the network; use inputs"
            )
        if self.shared_clip and self.activation_quantizer != "pact":
            raise BenchError(
                f"qat.shared_clip has no meaning with qat.activation_quantizer="
                f"{self.activation_quantizer}, which has no clip; use pact"
            )
        for name in ("first_bits", "last_bits", "image_bits", "input_bits"):
            if getattr(self, name) is not None:
                self._check(f"qat.{name}", getattr(self, name))

    def check_bits(self, bits: Sequence[int]) -> tuple[int, ...]:
        """Return `bits`, the bit-widths that share one weight set, as a tuple.

        Raises BenchError when there are none, when they repeat or do not descend, and for one
        outside 1..16 that is not 32, or that the weight quantizer has no grid for.
        """
        for each in bits:
            self._check("qat.bits", each)
        shown = list(bits)
        if not shown:
            raise BenchError("qat.bits is empty; give one or more bit-widths")
        if len(set(shown)) < len(shown):
            raise BenchError(f"qat.bits={shown} repeats a bit-width; give each once")
        if shown != sorted(shown, reverse=True):
            raise BenchError(f"qat.bits={shown} must descend; give {sorted(shown, reverse=True)}")
        return tuple(shown)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _check(self, name: str, bits: object) -> None:
        low, high = _BITS
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise BenchError(f"{name}={bits!r}; give whole bits, {low}..{high}, or 32 for float")
        if bits != FLOAT_BITS and not low <= bits <= high:
            raise BenchError(f"{name}={bits} is impossible; give {low}..{high}, or 32 for float")
        grid = self.scheme if self.weight_quantizer == "dorefa" else self.weight_quantizer
        if bits < lowest_weight_bits(grid):
            raise BenchError(
                f"{name}={bits} has no meaning with {grid} weights: {_NO_POSITIVE_LEVEL}; use "
                "qat.weight_quantizer=dorefa with scheme original or centered"
            )


def lowest_weight_bits(grid: str) -> int:
    """Return the fewest bits of a weight grid: a scheme of `dorefa`, or another quantizer."""
    return 2 if grid in _TWO_BIT_WEIGHTS else 1
