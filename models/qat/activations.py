"""Activation quantizers: forward(x, bits) -> x fake-quantized, one grid a tensor, 32 bits x itself.

Values that are nowhere negative (behind a ReLU) have the integers 0..2^b - 1; where there are
negative ones the grid is signed, or without a sign clips them to 0 (`QatSpec.signed_inputs`). x is
(N, ...), dimension 0 counting images.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.qat.affine import AffineActivation
from models.qat.gated import GatedQuantizer
from models.qat.learned import ACTIVATION_STEP_BOUNDS, LearnedStep, LearnedStepRange
from models.qat.mixed import MixedStepRange
from models.qat.quantizer import Levels, Quantizer, fake_quantize_learnable, used_step
from models.qat.spec import QatSpec
from models.qat.static import UniformStatic
from models.qat.surrogate import Surrogate

CONVOLUTION_CLIP = 8.0
LINEAR_CLIP = 10.0
"""Where the clip of PACT starts in the AdaBits release (quant_ops.py)."""

_PERCENTILE = 99.9
_SHARED = "all"


class Inputs(NamedTuple):
    """What the input of a layer was like on some images.

    signed: whether any value was negative. magnitude: mean |x|. high: the 99.9th percentile of |x|.
    values: of one image.
    """

    signed: bool
    magnitude: float
    high: float
    values: int = 0

    def joined(self, other: "Inputs") -> "Inputs":
        """Return what holds for both: of a layer that is called more than once."""
        magnitude = max(self.magnitude, other.magnitude)
        high, values = max(self.high, other.high), self.values + other.values
        return Inputs(self.signed or other.signed, magnitude, high, values)


def describe(x: Tensor) -> Inputs:
    """Return what the quantizers of activations start from."""
    size = x.detach().abs()
    high = float(np.percentile(size.cpu().numpy(), _PERCENTILE))
    return Inputs(bool((x < 0).any()), float(size.mean()), high, x[0].numel())


class PactActivation(Quantizer):
    """Clip to [0, alpha], alpha learned, one a bit-width or one for all; then 2^b - 1 equal steps.

    x^ = alpha round((2^b - 1) clip(x / alpha, 0, 1)) / (2^b - 1). The gradient of alpha is 1 where
    x is clipped and the rounding error in units of alpha elsewhere (the calibrated gradient of
    SAT, arXiv 1912.10207). Signed: to [-alpha, alpha] with 2^(b-1) - 1 steps on each side of 0.
    Sources: Choi et al., PACT (arXiv 1805.06085); AdaBits (the release, quant_ops.py). The release
    has no signed grid with a 0: with a sign it puts 2^b levels from -alpha to alpha. It clips where
    x is alpha to the last bit; here the rounding of x / (alpha / (2^b - 1)) decides, and with it
    which of x and alpha has the gradient there.

    clip: where alpha starts. shared: whether all bit-widths have the same alpha.
    """

    def __init__(
        self,
        bits: Sequence[int],
        surrogate: Surrogate,
        signed: bool,
        clip: float,
        shared: bool = False,
    ) -> None:
        self.lowest_bits = 2 if signed else 1
        super().__init__(bits, surrogate, signed)
        self.shared = shared
        names = [_SHARED] if shared else map(str, self.bits)
        self.alpha = nn.ParameterDict({name: torch.tensor(float(clip)) for name in names})

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        low, top = _symmetric_integers(bits, self.signed)
        step = self._clip(bits) / top
        return fake_quantize_learnable(x, step, low, top, self.surrogate.over(top - low))

    def levels(self, bits: int) -> Levels:
        low, top = _symmetric_integers(bits, self.signed)
        return Levels(used_step(self._clip(bits) / top), low, top)

    def _clip(self, bits: int) -> Tensor:
        return self.alpha[_SHARED if self.shared else str(bits)]

    @torch.no_grad()
    def copy_private(self, source: int) -> None:
        if source in self.bits and not self.shared:
            for bits in self.bits:
                self.alpha[str(bits)].copy_(self.alpha[str(source)])


class DoReFaActivation(Quantizer):
    """Clamp to [0, 1], then 2^b - 1 equal steps; signed: to [-1, 1] as in `PactActivation`.

    Nothing is learned. Sources: DoReFa-Net (arXiv 1606.06160), section 2.5; Any-Precision (the
    release, quan_ops.py and resnet_quan.py).
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, signed: bool) -> None:
        self.lowest_bits = 2 if signed else 1
        super().__init__(bits, surrogate, signed)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        low, top = _symmetric_integers(bits, self.signed)
        return self.surrogate.over(top - low).round((x * top).clamp(low, top)) / top

    def levels(self, bits: int) -> Levels:
        low, top = _symmetric_integers(bits, self.signed)
        return Levels(1 / top, low, top)


class LsqActivation(LearnedStep):
    """`LearnedStep` on activations; n of the gradient scale is the number of values of an image.

    inputs: seen before training; the step starts from their mean |x|.
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, inputs: Inputs) -> None:
        magnitude = torch.tensor(inputs.magnitude)
        super().__init__(bits, surrogate, inputs.signed, magnitude, by_image=True)


class StepRangeActivation(LearnedStepRange):
    """`LearnedStepRange` on activations; xmax starts at the 99.9th percentile of |x|.

    inputs: seen before training.
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, inputs: Inputs) -> None:
        xmax = torch.tensor(inputs.high)
        super().__init__(bits, surrogate, inputs.signed, xmax, ACTIVATION_STEP_BOUNDS)


class MixedStepRangeActivation(MixedStepRange):
    """`MixedStepRange` on activations, started as `StepRangeActivation`."""

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, inputs: Inputs) -> None:
        xmax = torch.tensor(inputs.high)
        super().__init__(bits, surrogate, inputs.signed, xmax, ACTIVATION_STEP_BOUNDS)


class GatedActivation(GatedQuantizer):
    """`GatedQuantizer` on activations, its range from the 99.9th percentile of |x|.

    inputs: seen before training.
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, inputs: Inputs) -> None:
        super().__init__(bits, surrogate, inputs.signed, torch.tensor(inputs.high), None)


class UniformStaticActivation(UniformStatic):
    """`UniformStatic` on activations, its range that which `StepRangeActivation` starts from.

    inputs: seen before training.
    """

    def __init__(self, bits: Sequence[int], surrogate: Surrogate, inputs: Inputs) -> None:
        super().__init__(bits, surrogate, inputs.signed, torch.tensor(inputs.high))


def make_activation_quantizer(
    spec: QatSpec, bits: Sequence[int], inputs: Inputs, clip: float
) -> Quantizer:
    """Return the quantizer that `spec` asks for, for a layer whose input was seen as `inputs`.

    clip: where the alpha of PACT starts.
    Raises BenchError for 1 bit where the inputs are signed: no positive level would be left.
    """
    surrogate = Surrogate(spec.activation_surrogate, spec.delta, spec.variant, spec.delta_unit)
    if spec.activation_quantizer == "pact":
        return PactActivation(bits, surrogate, inputs.signed, clip, spec.shared_clip)
    if spec.activation_quantizer == "dorefa":
        return DoReFaActivation(bits, surrogate, inputs.signed)
    if spec.activation_quantizer == "affine_ema":
        start = torch.tensor([-inputs.high if inputs.signed else 0.0, inputs.high])
        return AffineActivation(bits, surrogate, start, spec.range_average == "fed_back")
    return _OF_INPUTS[spec.activation_quantizer](bits, surrogate, inputs)


_OF_INPUTS: dict[str, Callable[[Sequence[int], Surrogate, Inputs], Quantizer]] = {
    "gated": GatedActivation,
    "lsq": LsqActivation,
    "mixed_step_range": MixedStepRangeActivation,
    "step_range": StepRangeActivation,
    "uniform_static": UniformStaticActivation,
}


def _symmetric_integers(bits: int, signed: bool) -> tuple[int, int]:
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return (-top if signed else 0), top
