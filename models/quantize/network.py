"""Quantize a whole network: weights once, activation ranges from one calibration pass."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import ActivationQuantizer, attach_quantizers, weighted_layers
from models.quantize.grid import quantize_weight
from models.quantize.spec import FLOAT_BITS, QuantSpec


class QuantizedNetwork(NamedTuple):
    """A fake-quantized copy of a network and the activation ranges it was calibrated to."""

    network: nn.Module
    quantizers: dict[str, ActivationQuantizer]


@torch.no_grad()
def quantize_weights(network: nn.Module, spec: QuantSpec) -> None:
    """Replace every convolution and linear weight of `network` by its quantized value, in place."""
    if spec.w_bits == FLOAT_BITS:
        return
    for layer in weighted_layers(network).values():
        layer.weight.copy_(
            quantize_weight(layer.weight, spec.w_bits, spec.w_scheme, spec.w_granularity)
        )


@torch.no_grad()
def quantize(network: nn.Module, spec: QuantSpec, images: Tensor) -> QuantizedNetwork:
    """Return a quantized copy of `network` in eval mode; `network` itself is not touched.

    images: (N, 3, H, W) normalised network input. All of them pass in one batch through the
    already quantized network, so ranges further on are those of quantized activations (ZeroQ
    release, uniform_test.py).

    Raises NotApplicable when the network has no site of the kind asked for, and BenchError when
    a range is not finite.
    """
    quantized = copy.deepcopy(network).eval()
    quantize_weights(quantized, spec)
    if spec.a_bits == FLOAT_BITS:
        return QuantizedNetwork(quantized, {})
    quantizers = attach_quantizers(
        quantized, spec.sites, spec.a_bits, spec.a_scheme, spec.a_granularity
    )
    if not quantizers:
        raise NotApplicable(f"quant.sites={spec.sites}: the network has no such place")
    quantized.to(images.device)
    quantized(images)
    for name, quantizer in quantizers.items():
        quantizer.freeze()
        if not bool(torch.isfinite(quantizer.high - quantizer.low).all()):
            raise BenchError(
                f"the activation range of {name!r} is not finite; look at the calibration images"
            )
    return QuantizedNetwork(quantized, quantizers)
