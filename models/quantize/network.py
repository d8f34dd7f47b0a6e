"""Quantize a whole network: weights once, activation ranges from one calibration pass."""

import copy
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import (
    ActivationQuantizer,
    attach,
    channel_axis,
    sites_of,
    weighted_layers,
)
from models.quantize.adaround import adaround
from models.quantize.fold import fold_batchnorm
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.spec import FLOAT_BITS, QuantSpec
from models.tracing import call_names


class QuantizedNetwork(NamedTuple):
    """A fake-quantized copy of a network and the activation ranges it was calibrated to."""

    network: nn.Module
    quantizers: dict[str, ActivationQuantizer]


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


@torch.no_grad()
def quantize(
    network: nn.Module,
    spec: QuantSpec,
    images: Tensor,
    progress: Callable[[int, int], None] = no_progress,
    weight_bits: Mapping[str, int] | None = None,
) -> QuantizedNetwork:
    """Return a quantized copy of `network` in eval mode; `network` itself is not touched.

    images: (N, 3, H, W) normalised network input. All of them pass in one batch through the
    already quantized network, so ranges further on are those of quantized activations (ZeroQ
    release, uniform_test.py).
    progress: called with the layers whose rounding is learned and their number.
    weight_bits: of each convolution and linear layer, by name, where they are not all the spec's
    (`w_bits`, `first_bits`, `last_bits`); a layer that is missing has the spec's.

    Raises NotApplicable when the network has no site of the kind asked for, and BenchError when
    there are no images or a range is not finite.
    """
    if not len(images):
        raise BenchError("the calibration batch has no images; the method must give at least one")
    quantized = copy.deepcopy(network).eval().to(images.device)
    if spec.fold:
        fold_batchnorm(quantized, images[:1])
    special = special_layers(quantized, spec, images[:1])
    of_weights = bits_of_weights(quantized, spec, special, weight_bits or {})
    if spec.rounding == "adaround":
        in_order = {name: of_weights[name] for name in call_order(quantized, images[:1])}
        layers, steps = weight_formats(in_order, spec), spec.rounding_iterations
        adaround(quantized, layers, images, steps, spec.rounding_rate, progress)
    else:
        quantize_weights(quantized, weight_formats(of_weights, spec))
    names = sites_of(quantized, spec.sites)
    bits = {name: special.get(name, spec.a_bits) for name in names}
    modules = dict(quantized.named_modules())
    quantizers = {
        name: ActivationQuantizer(
            b, spec.a_scheme, spec.a_granularity, spec.a_range, channel_axis(modules[name])
        )
        for name, b in bits.items()
        if b != FLOAT_BITS
    }
    if not names and spec.a_bits != FLOAT_BITS:
        raise NotApplicable(f"quant.sites={spec.sites}: the network has no such place")
    if quantizers:
        attach(quantized, spec.sites, {n: q.to(images.device) for n, q in quantizers.items()})
        quantized(images)
    for name, quantizer in quantizers.items():
        quantizer.freeze()
        if not bool(torch.isfinite(quantizer.high - quantizer.low).all()):
            raise BenchError(
                f"the activation range of {name!r} is not finite; look at the calibration images"
            )
    return QuantizedNetwork(quantized, quantizers)


def quantize_weights(network: nn.Module, formats: Mapping[str, WeightFormat]) -> None:
    """Replace the weights of the layers named in `formats` by their quantized values, in place."""
    for name, weight_format in formats.items():
        weight = network.get_submodule(name).get_parameter("weight")
        weight.data = quantize_weight(weight.detach(), weight_format)


def weight_formats(bits: Mapping[str, int], spec: QuantSpec) -> dict[str, WeightFormat]:
    """Return what each layer's weight is quantized to; layers left in float are not among them."""
    return {
        name: WeightFormat(b, spec.w_scheme, spec.w_granularity, spec.w_range)
        for name, b in bits.items()
        if b != FLOAT_BITS
    }


def bits_of_weights(
    network: nn.Module,
    spec: QuantSpec,
    special: Mapping[str, int],
    chosen: Mapping[str, int],
) -> dict[str, int]:
    """Return the weight bits of every convolution and linear layer, by name.

    special: of the first and last layer. chosen: of the layers that have bits of their own.
    Raises BenchError where the spec leaves a layer's bits open and `chosen` does not say them.
    """
    exceptions = {**special, **chosen}
    bits_of = {}
    for name in weighted_layers(network):
        bits = exceptions.get(name, spec.w_bits)
        if not isinstance(bits, int):
            raise BenchError(f"quant.w_bits={bits}: the bits of the layer {name!r} are not chosen")
        bits_of[name] = bits
    return bits_of


def special_layers(network: nn.Module, spec: QuantSpec, image: Tensor) -> dict[str, int]:
    """Return the bits of the first and the last layer called, where the spec sets them.

    image: (1, 3, H, W) normalised input.
    """
    if spec.first_bits is None and spec.last_bits is None:
        return {}
    names = call_order(network, image)
    special = {}
    if spec.first_bits is not None:
        special[names[0]] = spec.first_bits
    if spec.last_bits is not None:
        special[names[-1]] = spec.last_bits
    return special


def call_order(network: nn.Module, image: Tensor) -> list[str]:
    """Return the names of the convolutions and linear layers in the order of their first call.

    image: (1, 3, H, W) normalised input.
    """
    return list(dict.fromkeys(call_names(network, weighted_layers(network), image)))
