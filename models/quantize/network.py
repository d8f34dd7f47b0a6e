"""Quantize a whole network: weights once, activation ranges from one calibration pass."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.canonical import canonical_copy
from models.errors import BenchError, NotApplicable
from models.quantize.activation import ActivationQuantizer, Table, stored_layers, tables_of
from models.quantize.batchnorm import check_batchnorm, reestimate_on
from models.quantize.bias import correct_bias, correct_bias_on
from models.quantize.bits import ChosenBits, LayerBits, mean_of
from models.quantize.calibration import calibrated
from models.quantize.factorise import check_equalise, factorise
from models.quantize.fold import fold_batchnorm
from models.quantize.moments import mean_inputs
from models.quantize.ranges import WeightFormat
from models.quantize.reach import out_of_reach
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.by_block import BlockByBlock
from models.quantize.rounding.corrected import Corrected
from models.quantize.rounding.once import is_learned, learned_once
from models.quantize.rounding.registry import make_rounding
from models.quantize.rounding.weights import round_weights
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec
from models.tracing import call_names


class QuantizedNetwork(NamedTuple):
    """A fake-quantized copy of a network.

    quantizers: by the name of the module they sit at, with the ranges they were calibrated to.
    weight_bits: of each convolution and linear layer by name, 32 for one left in float, or of each
        of its output channels; None where whoever made the network does not say.
    more_bits: what storing the weights takes beyond these, in all: codebooks, indices, values of
        more bits. Below 0 where it takes less.
    warnings: what a reader of its numbers must know, a line each.
    """

    network: nn.Module
    quantizers: dict[str, ActivationQuantizer]
    weight_bits: dict[str, LayerBits] | None = None
    more_bits: int = 0
    warnings: tuple[str, ...] = ()


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


@torch.no_grad()
def quantize(
    network: nn.Module,
    spec: QuantSpec,
    images: Tensor,
    progress: Callable[[int, int], None] = no_progress,
    chosen: ChosenBits | None = None,
    generator: torch.Generator | None = None,
) -> QuantizedNetwork:
    """Return a quantized copy of `network` in eval mode; `network` itself is not touched.

    images: (N, 3, H, W) normalised network input. All of them pass in one batch through the
    already quantized network, so ranges further on are those of quantized activations (ZeroQ
    release, uniform_test.py).
    progress: called with the layers, or steps of blocks, that are learned and their number.
    chosen: bits where they are not all the spec's (`w_bits`, `a_bits`, `first_bits`, `last_bits`);
    a layer or quantizer that is missing has the spec's.
    generator: a seeded CPU random generator, for stochastic rounding and for bias correction
    without data. None: one whose seed is 0.

    Raises NotApplicable when the network has no layer to quantize or no site of the kind asked for,
    and for bits by channel with a rounding that cannot have them;
    and BenchError when there are no images, a range is not finite, or layers that share a weight
    have different bits.
    """
    if not len(images):
        raise BenchError("the calibration batch has no images; the method must give at least one")
    quantized = canonical_copy(network, images[:1])
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    means = None
    if spec.bias_correction == "data_free":
        means = mean_inputs(quantized, images, generator)
    if spec.fold:
        fold_batchnorm(quantized, images[:1])
    if spec.equalise != "none":
        check_equalise(spec)
        factorise(quantized, images, two_step=spec.equalise == "two_step")
    if spec.reestimate_batchnorm:
        check_batchnorm(quantized)
    reference = copy.deepcopy(quantized) if spec.bias_correction != "none" else None
    special = special_layers(quantized, spec, images[:1])
    chosen = chosen or ChosenBits({})
    of_weights = bits_of_weights(quantized, spec, special, chosen.weights)
    special = {**special, **chosen.inputs}
    are_low = any(bits != FLOAT_BITS for bits in of_weights.values())
    rounding = make_rounding(spec.rounding if are_low else "nearest", spec.as_dict())
    if spec.weight_correction != "none":
        if isinstance(rounding, BlockRounding):
            raise NotApplicable(
                f"quant.weight_correction={spec.weight_correction}: quant.rounding={rounding.name} "
                "has learned what its weights come to; use none"
            )
        rounding = Corrected(rounding, spec.weight_correction)
    looks = isinstance(rounding, BlockRounding) or rounding.inputs != "none"
    names = call_order(quantized, images[:1]) if looks else list(of_weights)
    formats = weight_formats({name: of_weights[name] for name in names}, spec)
    formats = _each_weight_once(quantized, formats)
    blocks = None
    quantizers: dict[str, ActivationQuantizer] = {}
    if isinstance(rounding, BlockRounding):
        if any(each.channel_bits is not None for each in formats.values()):
            raise NotApplicable(
                "bits are chosen by output channel, and whole layers are learned by "
                f"quant.rounding={rounding.name}; use nearest"
            )
        if tables := tables_of(quantized).keys() & formats.keys():
            raise NotApplicable(
                f"quant.rounding={rounding.name} learns from what enters a layer, and "
                f"{min(tables)!r} is a table of embeddings, which ids enter; use nearest, or one "
                "for tables such as dpq_sx"
            )
        if spec.a_bits != FLOAT_BITS:
            rounding.check(spec.a_granularity)
        blocks = BlockByBlock(quantized, rounding, images, generator, progress)
        if rounding.joint:
            quantizers = calibrated(quantized, spec, special, images)
        generators = blocks.generators
        learn = partial(blocks.weights, formats, quantizers)
    else:
        generators = (generator,)
        learn = partial(round_weights, quantized, formats, rounding, images, generator, progress)
    if is_learned(rounding):
        rounded = learned_once(learn, quantized, quantizers, generators)
    else:
        rounded = learn()
    if reference is not None:
        if means is None:
            correct_bias_on(images, quantized, reference)
        else:
            correct_bias(quantized, reference, means)
    if spec.reestimate_batchnorm:
        reestimate_on(quantized, images)
    quantizers = quantizers or calibrated(quantized, spec, special, images)
    if blocks is not None:
        blocks.steps(quantizers)
    more_bits = sum(
        r.size_bits - round(r.weight.numel() * mean_of(of_weights[name]))
        for name, r in rounded.items()
        if r.size_bits is not None
    )
    warnings = [f"{name}: {r.warning}" for name, r in rounded.items() if r.warning]
    warnings += [] if blocks is None else blocks.warnings
    return QuantizedNetwork(quantized, quantizers, of_weights, more_bits, tuple(warnings))


def _each_weight_once(
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
