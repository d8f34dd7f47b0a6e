"""Quantize a whole network: weights once, activation ranges from one calibration pass."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.canonical import canonical_copy
from models.errors import BenchError, NotApplicable
from models.quantize.activation import ActivationQuantizer, tables_of
from models.quantize.batchnorm import check_batchnorm, reestimate_on
from models.quantize.bias import correct_bias, correct_bias_on
from models.quantize.bits import ChosenBits, LayerBits, mean_of
from models.quantize.calibration import calibrated
from models.quantize.factorise import check_equalise, factorise
from models.quantize.fold import fold_batchnorm
from models.quantize.layers import (
    bits_of_weights,
    call_order,
    each_weight_once,
    special_layers,
    weight_formats,
)
from models.quantize.moments import mean_inputs
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Rounded, Rounding
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.by_block import BlockByBlock
from models.quantize.rounding.corrected import Corrected
from models.quantize.rounding.once import is_learned, learned_once
from models.quantize.rounding.registry import make_rounding
from models.quantize.rounding.weights import round_weights
from models.quantize.spec import FLOAT_BITS, QuantSpec


class QuantizedNetwork(NamedTuple):
    """A fake-quantized copy of a network.

    quantizers: by the name of the module they sit at, with the ranges they were calibrated to.
    weight_bits: of each convolution and linear layer by name, 32 for one left in float, or of each
        of its output channels; None where whoever made the network does not say.
    more_bits: what storing the weights takes beyond these, in all: codebooks, indices, values of
        more bits. Below 0 where it takes less.
    scale_bits: what reading them takes beside all that: see `models.quantize.scales`.
    warnings: what a reader of its numbers must know, a line each.
    """

    network: nn.Module
    quantizers: dict[str, ActivationQuantizer]
    weight_bits: dict[str, LayerBits] | None = None
    more_bits: int = 0
    warnings: tuple[str, ...] = ()
    scale_bits: int = 0


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
    _prepare(quantized, spec, images)
    reference = copy.deepcopy(quantized) if spec.bias_correction != "none" else None
    special = special_layers(quantized, spec, images[:1])
    chosen = chosen or ChosenBits({})
    of_weights = bits_of_weights(quantized, spec, special, chosen.weights)
    special = {**special, **chosen.inputs}
    rounding = _rounding(spec, of_weights)
    formats = _formats(quantized, of_weights, spec, rounding, images)
    quantizers: dict[str, ActivationQuantizer] = {}
    if isinstance(rounding, BlockRounding):
        _check_blocks(quantized, spec, rounding, formats)
        blocks = BlockByBlock(quantized, rounding, images, generator, progress)
        if rounding.joint:
            quantizers = calibrated(quantized, spec, special, images)
        learn = partial(blocks.weights, formats, quantizers)
        rounded = learned_once(learn, quantized, quantizers, blocks.generators)
    else:
        blocks = None
        learn = partial(round_weights, quantized, formats, rounding, images, generator, progress)
        once = is_learned(rounding)
        rounded = learned_once(learn, quantized, {}, (generator,)) if once else learn()
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
    warnings = [f"{name}: {r.warning}" for name, r in rounded.items() if r.warning]
    warnings += [] if blocks is None else blocks.warnings
    more_bits = _more_bits(rounded, of_weights)
    scale_bits = _scale_bits(quantized, rounding, formats)
    return QuantizedNetwork(
        quantized, quantizers, of_weights, more_bits, tuple(warnings), scale_bits
    )


def _prepare(network: nn.Module, spec: QuantSpec, images: Tensor) -> None:
    """Change the float `network` in place as `spec` wants it before anything is quantized."""
    if spec.fold:
        fold_batchnorm(network, images[:1])
    if spec.equalise != "none":
        check_equalise(spec)
        factorise(network, images, two_step=spec.equalise == "two_step")
    if spec.reestimate_batchnorm:
        check_batchnorm(network)


def _rounding(spec: QuantSpec, bits: Mapping[str, LayerBits]) -> Rounding | BlockRounding:
    """Return how weights of these bits are rounded."""
    are_low = any(each != FLOAT_BITS for each in bits.values())
    rounding = make_rounding(spec.rounding if are_low else "nearest", spec.as_dict())
    if spec.weight_correction == "none":
        return rounding
    if isinstance(rounding, BlockRounding):
        raise NotApplicable(
            f"quant.weight_correction={spec.weight_correction}: quant.rounding={rounding.name} "
            "has learned what its weights come to; use none"
        )
    return Corrected(rounding, spec.weight_correction)


def _formats(
    network: nn.Module,
    bits: Mapping[str, LayerBits],
    spec: QuantSpec,
    rounding: Rounding | BlockRounding,
    images: Tensor,
) -> dict[str, WeightFormat]:
    """Return what each weight is quantized to, in the order that `rounding` takes the layers in."""
    looks = isinstance(rounding, BlockRounding) or rounding.inputs != "none"
    names = call_order(network, images[:1]) if looks else list(bits)
    return each_weight_once(network, weight_formats({name: bits[name] for name in names}, spec))


def _check_blocks(
    network: nn.Module,
    spec: QuantSpec,
    rounding: BlockRounding,
    formats: Mapping[str, WeightFormat],
) -> None:
    """Raise NotApplicable for what cannot be learned block by block."""
    if any(each.channel_bits is not None for each in formats.values()):
        raise NotApplicable(
            "bits are chosen by output channel, and whole layers are learned by "
            f"quant.rounding={rounding.name}; use nearest"
        )
    if tables := tables_of(network).keys() & formats.keys():
        raise NotApplicable(
            f"quant.rounding={rounding.name} learns from what enters a layer, and "
            f"{min(tables)!r} is a table of embeddings, which ids enter; use nearest, or one "
            "for tables such as dpq_sx"
        )
    if spec.a_bits != FLOAT_BITS:
        rounding.check(spec.a_granularity)


def _more_bits(rounded: Mapping[str, Rounded], bits: Mapping[str, LayerBits]) -> int:
    return sum(
        each.size_bits - round(each.weight.numel() * mean_of(bits[name]))
        for name, each in rounded.items()
        if each.size_bits is not None
    )


def _scale_bits(
    network: nn.Module, rounding: Rounding | BlockRounding, formats: Mapping[str, WeightFormat]
) -> int:
    layers = {name: network.get_submodule(name) for name in formats}
    return sum(
        rounding.scale_bits(layer.get_parameter("weight"), formats[name], _groups(layer))
        for name, layer in layers.items()
    )


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1
