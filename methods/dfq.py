"""DFQ (Nagel et al., ICCV 2019): equalised weights, corrected biases, ranges from BatchNorm."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method, Progress, no_progress
from methods.distillation.batchnorm import batchnorms, check_statistics
from models.canonical import canonical_copy
from models.errors import NotApplicable
from models.quantize.bias import correct_bias
from models.quantize.bits import ChosenBits
from models.quantize.equalise import absorb_bias, equalise, find_pairs, replace_relu6
from models.quantize.fold import fold_batchnorm
from models.quantize.identity import effective
from models.quantize.moments import Activations, batchnorm_outputs, propagate, union
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.spec import QuantSpec


@dataclass(frozen=True)
class DFQ(Method):
    """Data-free quantization through weight equalization and bias correction.

    BatchNorm is folded and ReLU6 replaced by ReLU; consecutive layers are scaled to equal weight
    ranges; high biases are absorbed by the next layer; weights are quantized as the recipe says;
    the mean error they cause is taken from the biases; activation ranges are beta -+ n gamma of
    BatchNorm. What the inputs of layers are like, samples of the BatchNorms' normals say
    (`models.quantize.moments`).

    images: N(0, 1) noise; its extremes and means are those of the network's input, and one image
        shows which layer feeds which.
    replace_relu6: as in the paper, which changes the float network. Without it a ReLU6 between
        equalised layers keeps its bound, 6 / s where a channel is divided by s: the same network.
    equalise, absorb_bias: section 4.1 of the paper. correct_bias: section 4.2.
    sigmas: n of the activation ranges.
    """

    name = "dfq"
    bibtex = """@inproceedings{nagel2019data,
  title = {Data-Free Quantization Through Weight Equalization and Bias Correction},
  author = {Nagel, Markus and van Baalen, Mart and Blankevoort, Tijmen and Welling, Max},
  booktitle = {ICCV},
  year = {2019}
}"""

    replace_relu6: bool = True
    equalise: bool = True
    absorb_bias: bool = True
    correct_bias: bool = True
    sigmas: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigmas > 0:
            raise ValueError(f"sigmas={self.sigmas}; give a positive number")

    def not_applicable(self, network: nn.Module) -> str | None:
        if batchnorms(network):
            return None
        return "the network has no BatchNorm statistics to take ranges and means from"

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        shape = (self.images, *context.input_shape)
        return Calibration(torch.randn(shape, generator=context.generator("synthesis")))

    @torch.no_grad()
    def quantize(
        self,
        network: nn.Module,
        spec: QuantSpec,
        images: Tensor,
        generator: torch.Generator,
        progress: Progress = no_progress,
        chosen: ChosenBits | None = None,
    ) -> QuantizedNetwork:
        """Return a quantized copy of `network`; see `models.quantize.network.quantize`.

        Raises NotApplicable for a recipe that leaves BatchNorm, estimates ranges or learns
        roundings on images.
        """
        _check(spec)
        check_statistics(network)
        prepared = canonical_copy(network, images[:1])
        activations = self._prepare(prepared, images, generator, progress)
        quantized = quantize(prepared, spec, images[:1], chosen=chosen)
        if self.correct_bias:
            correct_bias(quantized.network, prepared, activations.means)
        ranges = activations.relus if spec.sites == "relu" else activations.inputs
        for name, quantizer in quantized.quantizers.items():
            if name in ranges:
                low, high = union(ranges[name], by_channel=spec.a_granularity == "channel")
                quantizer.set_range(low.view_as(quantizer.low), high.view_as(quantizer.low))
        return quantized

    def _prepare(
        self, network: nn.Module, images: Tensor, generator: torch.Generator, progress: Progress
    ) -> Activations:
        """Do everything that comes before rounding, in place; return means and ranges."""
        image = images[:1]
        outputs = batchnorm_outputs(network, image)
        fold_batchnorm(network, image)
        if self.replace_relu6:
            replace_relu6(network)
        pairs = find_pairs(network, image) if self.equalise or self.absorb_bias else []
        if self.equalise:
            outputs = equalise(network, pairs, outputs)
        if self.absorb_bias:
            outputs = absorb_bias(network, pairs, outputs)
        return propagate(network, outputs, images, self.sigmas, generator, progress)


def _check(spec: QuantSpec) -> None:
    if not spec.fold:
        raise NotApplicable("dfq folds BatchNorm: add quant.fold=true or recipe=dfq")
    spec = effective(spec)
    if spec.a_range != "minmax":
        raise NotApplicable(
            f"quant.a_range={spec.a_range}: dfq takes activation ranges from BatchNorm, and sees "
            "no images to estimate them on; use minmax"
        )
    if spec.sites == "integer":
        raise NotApplicable(
            "quant.sites=integer: dfq takes ranges from BatchNorm, which says nothing of sums and "
            "pools; use all or relu"
        )
    if spec.equalise != "none":
        raise NotApplicable(
            f"quant.equalise={spec.equalise}: dfq equalises by itself; use none, and "
            "method.equalise"
        )
    if spec.bias_correction != "none":
        raise NotApplicable(
            f"quant.bias_correction={spec.bias_correction}: dfq corrects biases by itself; "
            "use none, and method.correct_bias"
        )
    if spec.rounding != "nearest":
        raise NotApplicable(
            f"quant.rounding={spec.rounding} learns on images, and dfq has none; use nearest"
        )
