"""A network as an ONNX model, with its weights and activations as integers."""

from collections.abc import Mapping
from typing import NamedTuple

import onnx
from torch import Tensor, nn

from models.errors import NotApplicable
from models.export.passes import prepared
from models.export.record import record
from models.export.weights import Stored, stored
from models.export.write import Writer
from models.quantize.activation import weighted_layers
from models.quantize.bits import LayerBits
from models.quantize.network import QuantizedNetwork
from models.quantize.spec import FLOAT_BITS


class Exported(NamedTuple):
    """An ONNX model of a network.

    weights: what was stored of each layer, by its name. layers: how many convolutions and linear
        layers there are. integer: how many of them read integers and have integer weights.
    lines: what whoever uses the file must know.
    """

    model: onnx.ModelProto
    weights: dict[str, Stored]
    layers: int
    integer: int
    lines: list[str]


def export_float(network: nn.Module, image: Tensor) -> onnx.ModelProto:
    """Return the float `network`, canonical and frozen, as a model: (N, C, H, W) to (N, classes).

    image: (1, C, H, W) normalised input. Raises NotApplicable as `record` does.
    """
    return Writer(prepared(record(network, image)), {}).model()


def export(made: QuantizedNetwork, image: Tensor, by_channel: bool) -> Exported:
    """Return a fake-quantized network as a model of integers: (N, C, H, W) to (N, classes).

    image: (1, C, H, W) normalised input. by_channel: whether weights have a grid a channel.

    Raises NotApplicable for what has no integers, or what `record` cannot follow.
    """
    if made.weight_bits is None:
        raise NotApplicable("whoever made the network does not say the bits of its layers")
    graph = prepared(record(made.network, image))
    weights = _stored(made.network, made.weight_bits, by_channel, graph.factors)
    writer = Writer(graph, {f"{name}.weight": each for name, each in weights.items()})
    model = writer.model()
    layers = sum(node.op in ("Conv", "Gemm") for node in graph.nodes)
    return Exported(model, weights, layers, len(writer.integer_inputs), _lines(weights, writer))


def _stored(
    network: nn.Module,
    bits: Mapping[str, LayerBits],
    by_channel: bool,
    factors: Mapping[str, Tensor],
) -> dict[str, Stored]:
    layers, weights = weighted_layers(network), dict[str, Stored]()
    for name, each in bits.items():
        if not isinstance(each, int):
            raise NotApplicable(
                f"the output channels of {name!r} have bits of their own; a file has one type for "
                "a weight"
            )
        if each != FLOAT_BITS:
            factor = factors.get(f"{name}.weight")
            weight = layers[name].weight.detach()
            weights[name] = stored(name, weight, each, by_channel, factor)
    return weights


def _lines(weights: Mapping[str, Stored], writer: Writer) -> list[str]:
    lines = []
    wide = sum(each.widened for each in weights.values())
    if wide:
        every = sum(max(each.scale.numel(), 1) for each in weights.values())
        lines.append(
            f"{wide} of {every} grids of weights do not contain 0, so that a file has no zero "
            "point for them: widened to contain it, and their weights rounded once more"
        )
    if writer.coarser:
        lines.append(
            f"{writer.coarser} output channels have steps so small that their biases would not fit "
            "32 bits: their weights are stored in coarser steps"
        )
    return lines
