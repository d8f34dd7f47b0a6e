"""Which layers of a network are quantized, in what order, and to what."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import Table, stored_layers
from models.quantize.bits import LayerBits
from models.quantize.ranges import WeightFormat
from models.quantize.reach import out_of_reach
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec
from models.tracing import call_names


def each_weight_once(
    network: nn.Module, formats: Mapping[str, WeightFormat]
) -> dict[str, WeightFormat]:
    """Return `formats` without the layers that share their weight with an earlier one."""
    layers = stored_layers(network)
    first: dict[Tensor, str] = {}
    for name in formats:
        first.setdefault(layers[name].weight, name)
    return {name: formats[name] for name in first.values()}


def weight_formats(bits: Mapping[str, LayerBits], spec: QuantSpec) -> dict[str, WeightFormat]:
    """Return what each layer's weight is quantized to; layers left in float are not among them."""
    how = spec.w_scheme, spec.w_granularity, spec.w_range
    formats = {}
    for name, b in bits.items():
        if isinstance(b, Sequence):
            formats[name] = WeightFormat(max(b), *how, tuple(b))
        elif b != FLOAT_BITS:
            formats[name] = WeightFormat(int(b), *how)
    return formats


def bits_of_weights(
    network: nn.Module,
    spec: QuantSpec,
    special: Mapping[str, int],
    chosen: Mapping[str, LayerBits],
) -> dict[str, LayerBits]:
    """Return the weight bits of every convolution, linear layer and table, by name.

    special: of the first and last layer. chosen: of the layers that have bits of their own.
    Raises BenchError where the spec leaves a layer's bits open and `chosen` does not say them, and
    where layers that share a weight would have different ones. Raises NotApplicable when there is
    no such layer and weights are to be quantized.
    """
    exceptions: dict[str, LayerBits] = {**special, **chosen}
    bits_of: dict[str, LayerBits] = {}
    layers = stored_layers(network) if spec.w_bits == FLOAT_BITS else layers_to_quantize(network)
    of_weight: dict[Tensor, LayerBits] = {}
    for name, layer in layers.items():
        bits = exceptions.get(name, spec.w_bits)
        if bits == MIXED or isinstance(bits, str):
            raise BenchError(f"quant.w_bits={bits}: the bits of the layer {name!r} are not chosen")
        if of_weight.setdefault(layer.weight, bits) != bits:
            raise BenchError(
                f"the layer {name!r} shares its weight with another, and they are to have "
                f"{bits} and {of_weight[layer.weight]} bits; give both the same, or weights of "
                "their own"
            )
        bits_of[name] = bits
    return bits_of


def layers_to_quantize(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear | Table]:
    """Return the layers whose weights are quantized by name; raises NotApplicable without any."""
    layers = stored_layers(network)
    if layers:
        return layers
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise NotApplicable(
            "the network is TorchScript, whose layers cannot be seen: nothing would be quantized; "
            "name the function that builds it in Python"
        )
    raise NotApplicable(
        "the network has no nn.Conv2d or nn.Linear layer: nothing would be quantized"
    )


def special_layers(network: nn.Module, spec: QuantSpec, image: Tensor) -> dict[str, int]:
    """Return the bits of the layers and sites that do not have those of the spec, by name.

    They are the first and the last layer called, where the spec sets them, and what is out of its
    reach. image: (1, 3, H, W) normalised input.
    """
    special: dict[str, int] = {}
    if spec.first_bits is not None or spec.last_bits is not None:
        layers_to_quantize(network)
        names = call_order(network, image)
        if names and spec.first_bits is not None:
            special[names[0]] = spec.first_bits
        if names and spec.last_bits is not None:
            special[names[-1]] = spec.last_bits
    return special | dict.fromkeys(out_of_reach(network, spec.reach), FLOAT_BITS)


def call_order(network: nn.Module, image: Tensor) -> list[str]:
    """Return the names of the layers with weights, tables too, in the order of their first call.

    image: (1, 3, H, W) normalised input.
    """
    return list(dict.fromkeys(call_names(network, stored_layers(network), image)))
