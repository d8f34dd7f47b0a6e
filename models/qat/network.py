"""A network that computes at several bit-widths with one set of weights: switch it, look into it.

set_bits(network, 4)
set_bits(network, {"": 2, "features.stage1": 8})
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn

from models.embeddings.table import size_of
from models.errors import BenchError
from models.qat.batchnorm import PrivateBatchNorm2d, TransitionalBatchNorm2d
from models.qat.layers import QuantizedLayer, QuantizedOutput, Switchable
from models.qat.quantizer import Quantizer
from models.quantize.activation import Table, stored_layers, tables_of
from models.quantize.bits import mean_of
from models.quantize.counting import LayerWeight
from models.quantize.spec import FLOAT_BITS
from models.registry import did_you_mean


def set_bits(network: nn.Module, bits: int | Mapping[str, int]) -> None:
    """Choose the bit-width that `network` computes at from now on, for all of it or by part.

    bits: one for all; or by name of a module, for all that is in it, the longest name deciding and
    "" being the whole network. What no name covers keeps its bit-width. A BatchNorm takes the
    bit-width of the part it is in, so name a block, not a convolution, where both should switch.

    Layers with fixed bits keep them. Raises BenchError for a bit-width that the network is not
    made for and for a name with nothing to switch in it; then nothing is changed.
    """
    bits_of = {"": bits} if isinstance(bits, int) else dict(bits)
    parts = {n: m for n, m in network.named_modules() if isinstance(m, Switchable)}
    for name, choice in bits_of.items():
        _check_choice(network, choice)
        if not any(_within(part, name) for part in parts):
            known = {n.rsplit(".", depth)[0] for n in parts for depth in range(n.count(".") + 1)}
            raise BenchError(
                f"the network has nothing with a bit-width in {name!r}; {did_you_mean(name, known)}"
            )
    for part, module in parts.items():
        names = [name for name in bits_of if _within(part, name)]
        if names:
            module.chosen = bits_of[max(names, key=len)]
    for module in parts.values():
        if isinstance(module, TransitionalBatchNorm2d):
            module.chosen = parts[module.layer].chosen
            module.before = parts[module.previous or module.layer].chosen


def blocks(network: nn.Module) -> list[str]:
    """Return the names of the blocks of a quantizable network, in registration order.

    A block is the outermost module around a quantized layer that is neither the network itself nor
    a list of modules (nn.Sequential, nn.ModuleList): the residual units of the zoo's networks, and
    each layer outside them.
    """
    modules = dict(network.named_modules())
    names: dict[str, None] = {}
    for layer in quantized_layers(network):
        path = layer.split(".")
        outwards = (".".join(path[: end + 1]) for end in range(len(path)))
        block = next(
            name
            for name in outwards
            if not isinstance(modules[name], nn.Sequential | nn.ModuleList)
        )
        names[block] = None
    return list(names)


def quantized_layers(network: nn.Module) -> dict[str, QuantizedLayer]:
    """Return the quantized layers by name, in registration order; `bits` is the current one."""
    return {n: m for n, m in network.named_modules() if isinstance(m, QuantizedLayer)}


def quantizer_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the steps, ranges and clips that are learned, of all bit-widths."""
    quantizers = [m for m in network.modules() if isinstance(m, Quantizer)]
    return [p for quantizer in quantizers for p in quantizer.parameters()]


def copy_private(network: nn.Module, source: int) -> None:
    """Give every bit-width the BatchNorm and the ranges of the bit-width `source`.

    Learned steps are scaled so that the range stays. This is how a network trained at one bit-width
    is used at others without training.
    Raises BenchError when the network is not made for `source`.
    """
    _check_choice(network, source)
    for module in network.modules():
        if isinstance(module, PrivateBatchNorm2d | TransitionalBatchNorm2d | Quantizer):
            module.copy_private(source)


def freeze(network: nn.Module) -> nn.Module:
    """Quantize every weight once, at the bits in use; return `network`, now for evaluation only."""
    for layer in quantized_layers(network).values():
        layer.freeze()
    return network.eval()


def weights_size_mb(network: nn.Module) -> float:
    """Return the size of the weights of the quantized layers at their current bits, in MiB.

    Where there is a table of embeddings, it is that of all weights: float ones have 32 bits.
    """
    layers = quantized_layers(network).values()
    if tables_of(network):
        weights = layer_weights(network)
        return sum(weight.parameter.numel() * weight.bits for weight in weights) / 8 / 2**20
    return sum(layer.weight.numel() * mean_of(_weight_bits(layer)) for layer in layers) / 8 / 2**20


def scales_size_mb(network: nn.Module) -> float:
    """Return what reading the weights of the quantized layers takes beside them, in MiB.

    See `models.quantize.scales`; nothing of a layer in float. What a table that was trained as
    codes has of it is in its size.
    """
    return (
        sum(
            layer.weight_quantizer.scale_bits(layer.weight, layer.bits)
            for layer in quantized_layers(network).values()
            if _weight_bits(layer) != FLOAT_BITS
        )
        / 8
        / 2**20
    )


def layer_weights(network: nn.Module) -> list[LayerWeight]:
    """Return the weights of all layers as they are used now, with their bits: 32 of float ones.

    The bits of a table that was trained as codes are what these take, for each of its numbers.
    """
    return [
        LayerWeight(layer.weight, layer.quantized_weight(), mean_of(_weight_bits(layer)), name)
        if isinstance(layer, QuantizedLayer)
        else LayerWeight(layer.weight, layer.weight, _float_bits(layer), name)
        for name, layer in stored_layers(network).items()
    ]


def _float_bits(layer: nn.Conv2d | nn.Linear | Table) -> int | float:
    size = size_of(layer)
    return FLOAT_BITS if size is None else size / layer.weight.numel()


def input_quantizers(network: nn.Module) -> dict[nn.Module, int]:
    """Return the quantizers of activations that are not at 32 bits, and their bits."""
    of_inputs: dict[nn.Module, int] = {
        layer.input_quantizer: _input_bits(layer)
        for layer in quantized_layers(network).values()
        if layer.input_quantizer is not None and layer.input_bits != FLOAT_BITS
    }
    of_outputs: dict[nn.Module, int] = {
        m.quantizer: m.bits
        for m in network.modules()
        if isinstance(m, QuantizedOutput) and m.bits != FLOAT_BITS
    }
    return of_inputs | of_outputs


def freeze_statistics(network: nn.Module) -> nn.Module:
    """Put all but quantizers into eval mode: BatchNorm keeps its statistics and normalises by them.

    Return `network`, to be trained.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, Quantizer):
            module.train()
    return network


class LayerInUse(NamedTuple):
    """A quantized layer as it is used now.

    bits: of its weight, or of each of its output channels. input_bits: 32 where it is left as it
    comes. ranges, input_ranges: learned, one for each grid; none where they are not.
    """

    layer: str
    bits: int | Sequence[float]
    input_bits: int
    ranges: list[float]
    input_ranges: list[float]


def layers_in_use(network: nn.Module) -> list[LayerInUse]:
    """Return the quantized layers with the bits that they have, learned ones where they are."""
    return [
        LayerInUse(
            name,
            _weight_bits(layer),
            _input_bits(layer),
            layer.weight_quantizer.ranges(layer.bits),
            layer.input_quantizer.ranges(layer.input_bits) if layer.input_quantizer else [],
        )
        for name, layer in quantized_layers(network).items()
    ]


def _weight_bits(layer: QuantizedLayer) -> int | Sequence[float]:
    return layer.weight_quantizer.bits_in_use(layer.bits)


def _input_bits(layer: QuantizedLayer) -> int:
    if layer.input_quantizer is None:
        return FLOAT_BITS
    bits = layer.input_quantizer.bits_in_use(layer.input_bits)
    assert isinstance(bits, int)  # one grid a tensor
    return bits


def project(network: nn.Module) -> None:
    """Put learned steps and ranges back into their bounds; call it after each optimizer step."""
    for module in network.modules():
        if isinstance(module, Quantizer):
            module.project()


def _check_choice(network: nn.Module, bits: int) -> None:
    known = {c for m in network.modules() if isinstance(m, Switchable) for c in m.choices}
    if bits not in known:
        raise BenchError(
            f"{bits} bits are asked for, but the network is made for {sorted(known, reverse=True)}"
        )


def _within(part: str, name: str) -> bool:
    return not name or part == name or part.startswith(f"{name}.")
