"""A trained network as one that is quantized after training: plain layers, quantizers as hooks."""

import copy

import torch
from torch import Tensor, nn

from models.qat.conversion import with_replaced
from models.qat.gated import GatedQuantizer
from models.qat.layers import (
    QuantizedConv2dSame,
    QuantizedLayer,
    QuantizedLinear,
    QuantizedOutput,
)
from models.qat.network import quantized_layers
from models.qat.quantizer import Quantizer
from models.quantize.activation import ActivationQuantizer, attach
from models.quantize.bits import LayerBits
from models.quantize.network import QuantizedNetwork
from models.quantize.spec import FLOAT_BITS


class TrainedActivation(ActivationQuantizer):
    """A trained quantizer of activations at the bits in use: the same values, to the last bit.

    Raises NotApplicable for a quantizer that does not say its `levels`.
    """

    def __init__(self, trained: Quantizer, chosen: int) -> None:
        bits = trained.bits_in_use(chosen)
        assert isinstance(bits, int)  # one grid a tensor
        super().__init__(bits, "affine", "tensor")
        step, low, high = trained.levels(chosen)
        self.trained, self.chosen = trained, chosen
        self.low, self.high = torch.tensor(step * low), torch.tensor(step * high)
        ends = float(low), float(high)
        values = (1 / step, 0.0, *ends, ends[1] - ends[0], ends[1])
        for name, value in zip(self.grid._fields, values, strict=True):
            setattr(self, name, torch.tensor(value))
        self.freeze()

    def forward(self, x: Tensor) -> Tensor:
        quantized: Tensor = self.trained(x, self.chosen)
        return quantized


@torch.no_grad()
def as_quantized(network: nn.Module) -> QuantizedNetwork:
    """Return a copy of a trained `network`, at the bits in use, in the form that others come in.

    It computes the same values. Names of layers and of their weights stay; BatchNorm is as it is.

    Raises NotApplicable as `TrainedActivation`.
    """
    made = copy.deepcopy(network).eval()
    inputs: dict[str, ActivationQuantizer] = {}
    weight_bits: dict[str, LayerBits] = {}
    for name, layer in quantized_layers(made).items():
        quantizer = layer.input_quantizer
        if quantizer is not None and layer.input_bits != FLOAT_BITS:
            inputs[name] = TrainedActivation(quantizer, layer.input_bits)
        weight_bits[name] = _weight_bits(layer)
        _become_plain(layer)
    attach(made, "all", inputs)
    outputs = _plain_outputs(made)
    attach(made, "relu", outputs)
    return QuantizedNetwork(made.requires_grad_(False), inputs | outputs, weight_bits)


def _weight_bits(layer: QuantizedLayer) -> LayerBits:
    if isinstance(layer.weight_quantizer, GatedQuantizer):
        return layer.weight_quantizer.width  # a pruned channel is zeros on the same grid
    bits = layer.weight_quantizer.bits_in_use(layer.bits)
    return bits if isinstance(bits, int) else [int(each) for each in bits]


def _become_plain(layer: QuantizedLayer) -> None:
    layer.weight = nn.Parameter(layer.quantized_weight().detach().clone())
    for name in ("weight_quantizer", "input_quantizer"):
        delattr(layer, name)
    # The class alone: names, options and hooks stay as they are.
    layer.__class__ = _plain_class(layer)  # type: ignore[assignment]


def _plain_class(layer: QuantizedLayer) -> type[nn.Module]:
    if isinstance(layer, QuantizedConv2dSame):
        from timm.layers import Conv2dSame

        return Conv2dSame
    return nn.Linear if isinstance(layer, QuantizedLinear) else nn.Conv2d


def _plain_outputs(network: nn.Module) -> dict[str, ActivationQuantizer]:
    """Put activation functions back in the place of quantized ones; return their quantizers."""
    outputs = {n: m for n, m in network.named_modules() if isinstance(m, QuantizedOutput)}
    with_replaced(network, {output: output.function for output in outputs.values()})
    return {
        name: TrainedActivation(output.quantizer, output.bits)
        for name, output in outputs.items()
        if output.bits != FLOAT_BITS
    }
