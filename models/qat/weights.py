"""Weight quantizers: forward(weight, bits) -> the weight fake-quantized, 32 bits the weight itself.

A weight is (out, in, k, k) of a convolution or (out, in) of a linear layer.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.qat.affine import AffineWeight
from models.qat.gated import GatedQuantizer
from models.qat.learned import STEP_BOUNDS, LearnedStep, LearnedStepRange
from models.qat.mixed import MixedStepRange
from models.qat.quantizer import Quantizer
from models.qat.spec import QatSpec, lowest_weight_bits
from models.qat.static import UniformStatic
from models.qat.surrogate import Surrogate
from models.quantize.scales import STEP_BITS

_SMALLEST = 1e-8  # of the largest tanh(w); guards an all-zero weight


class DoReFaWeight(Quantizer):
    """Tanh-normalised weights on one of three grids over [-1, 1], with an optional rescale.

    With u = (tanh(w) / max |tanh(w)| + 1) / 2, in 0..1, the quantized weight is 2 q - 1 for

        original   q = round((2^b - 1) u) / (2^b - 1)                    levels -1..1
        modified   q = min(floor(2^b u), 2^b - 1) / 2^b                  levels -1..1 - 2^(1-b)
        centered   q = (min(floor(2^b u), 2^b - 1) + 1/2) / 2^b          symmetric, without 0

    times a factor without gradient: with Q their standard deviation and w the float weights,

        constant   1 / (Q sqrt(out k k))      linear layers: 1 / (Q sqrt(out))
        stddev     std(w) / Q
        mean       mean |w|
        none       1

    Sources: original, Zhou et al., DoReFa-Net (arXiv 1606.06160), equation 9; modified and its use,
    Jin et al., AdaBits (CVPR 2020; the release, quant_ops.py); centered, that release's README,
    which recommends it for few bits; constant and stddev, scale-adjusted training (SAT, arXiv
    1912.10207, the same release); mean, Any-Precision (AAAI 2021; the release, quan_ops.py).
    Those releases normalise and rescale at 32 bits too; here 32 bits is the float weight.
    """

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, scheme: str, rescale: str
    ) -> None:
        self.lowest_bits = lowest_weight_bits(scheme)
        super().__init__(bits, surrogate, signed=True)
        self.scheme = scheme
        self.rescale = rescale

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        squashed = torch.tanh(x)
        unit = (squashed / squashed.abs().max().clamp(min=_SMALLEST) + 1) / 2
        if self.scheme == "original":
            levels = 2**bits - 1
            q = self.surrogate.over(levels).round(unit * levels) / levels
        else:
            q = self.surrogate.over(2**bits).floor(unit * 2**bits, top=2**bits - 1)
            q = (q + (0.5 if self.scheme == "centered" else 0.0)) / 2**bits
        quantized = 2 * q - 1
        if self.rescale == "none" or x.numel() == 1:
            return quantized
        return quantized * self._factor(x.detach(), quantized.detach())

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        return 0 if self.rescale == "none" else STEP_BITS  # the levels are those of all weights

    def _factor(self, weight: Tensor, quantized: Tensor) -> Tensor:
        if self.rescale == "mean":
            return weight.abs().mean()
        if self.rescale == "stddev":
            target = weight.std()
        else:
            # Filled on the device: a number that is copied there would wait for it.
            size = weight[:, 0].numel() ** -0.5
            target = torch.full((), size, dtype=weight.dtype, device=weight.device)
        spread = quantized.std()
        # All weights on one level: there is no spread to adjust.
        return torch.where(spread > 0, target / spread, torch.ones_like(spread))


class LsqWeight(LearnedStep):
    """`LearnedStep` on a weight, with one step a tensor or one an output channel."""

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, granularity: str, weight: Tensor
    ) -> None:
        magnitude = _mean_magnitude(weight.detach(), granularity)
        super().__init__(bits, surrogate, True, magnitude, by_image=False)


class StepRangeWeight(LearnedStepRange):
    """`LearnedStepRange` on a weight, with one pair a tensor or one an output channel.

    xmax starts at max(|mean - 3 std|, |mean + 3 std|) of the weights that share it.
    """

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, granularity: str, weight: Tensor
    ) -> None:
        xmax = _three_sigma(weight.detach(), granularity)
        super().__init__(bits, surrogate, True, xmax, STEP_BOUNDS)


class MixedStepRangeWeight(MixedStepRange):
    """`MixedStepRange` on a weight, started as `StepRangeWeight`."""

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, granularity: str, weight: Tensor
    ) -> None:
        xmax = _three_sigma(weight.detach(), granularity)
        super().__init__(bits, surrogate, True, xmax, STEP_BOUNDS)


class GatedWeight(GatedQuantizer):
    """`GatedQuantizer` on a weight, with a gate for each output channel."""

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, granularity: str, weight: Tensor
    ) -> None:
        values = weight.detach()
        signed = bool((values < 0).any())
        super().__init__(bits, surrogate, signed, values.abs().max(), len(values))


class UniformStaticWeight(UniformStatic):
    """`UniformStatic` on a weight, its range that which `StepRangeWeight` starts from."""

    def __init__(
        self, bits: Sequence[int], surrogate: Surrogate, granularity: str, weight: Tensor
    ) -> None:
        super().__init__(bits, surrogate, True, _three_sigma(weight.detach(), granularity))


def make_weight_quantizer(spec: QatSpec, bits: Sequence[int], weight: Tensor) -> Quantizer:
    """Return the quantizer that `spec` asks for, started from `weight`.

    Raises BenchError for a bit-width that it has no grid for.
    """
    surrogate = Surrogate(spec.weight_surrogate, spec.delta, spec.variant, spec.delta_unit)
    if spec.weight_quantizer == "dorefa":
        return DoReFaWeight(bits, surrogate, spec.scheme, spec.rescale)
    if spec.weight_quantizer == "affine":
        return AffineWeight(bits, surrogate, spec.granularity)
    return _OF_TENSORS[spec.weight_quantizer](bits, surrogate, spec.granularity, weight)


_OF_TENSORS: dict[str, Callable[[Sequence[int], Surrogate, str, Tensor], Quantizer]] = {
    "gated": GatedWeight,
    "lsq": LsqWeight,
    "mixed_step_range": MixedStepRangeWeight,
    "step_range": StepRangeWeight,
    "uniform_static": UniformStaticWeight,
}


def _shared(weight: Tensor, granularity: str) -> tuple[int, ...]:
    """Return the dimensions of `weight` whose values share a grid."""
    return tuple(range(1 if granularity == "channel" else 0, weight.dim()))


def _mean_magnitude(weight: Tensor, granularity: str) -> Tensor:
    return weight.abs().mean(_shared(weight, granularity), keepdim=True)


def _three_sigma(weight: Tensor, granularity: str) -> Tensor:
    shared = _shared(weight, granularity)
    mean = weight.mean(shared, keepdim=True)
    spread = weight.std(shared, correction=0, keepdim=True)
    return torch.maximum((mean - 3 * spread).abs(), (mean + 3 * spread).abs())
