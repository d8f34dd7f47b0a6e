"""Activation quantizers in a network, with the ranges of calibration images."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import ActivationQuantizer, channel_axis
from models.quantize.places import attach_at, places_of
from models.quantize.reach import out_of_reach
from models.quantize.spec import FLOAT_BITS, QuantSpec


def calibrated(
    network: nn.Module, spec: QuantSpec, special: Mapping[str, int], images: Tensor
) -> dict[str, ActivationQuantizer]:
    """Put activation quantizers into `network` and return them, with the ranges of `images`.

    special: the bits of the places that have not those of the spec.

    Raises NotApplicable where there is no place, and BenchError for a place whose bits are open and
    for a range that is not finite.
    """
    places = places_of(network, spec.sites, images[:1])
    if not places and spec.a_bits != FLOAT_BITS:
        raise NotApplicable(f"quant.sites={spec.sites}: the network has no such place")
    bits = {name: special.get(name, spec.a_bits) for name in places}
    outside = out_of_reach(network, spec.reach)
    bits |= {name: FLOAT_BITS for name, place in places.items() if place.module in outside}
    modules = dict(network.named_modules())
    quantizers = {
        name: ActivationQuantizer(
            _known(name, b),
            spec.a_scheme,
            spec.a_granularity,
            spec.a_range,
            channel_axis(modules[places[name].module]),
        ).to(images.device)
        for name, b in bits.items()
        if b != FLOAT_BITS
    }
    if quantizers:
        attach_at(network, places, quantizers)
        network(images)
    for name, quantizer in quantizers.items():
        quantizer.freeze()
        if not bool(torch.isfinite(quantizer.high - quantizer.low).all()):
            raise BenchError(
                f"the activation range of {name!r} is not finite; look at the calibration images"
            )
    return quantizers


def _known(name: str, bits: int | str) -> int:
    if not isinstance(bits, int):
        raise BenchError(f"quant.a_bits={bits}: the bits of what {name!r} quantizes are not chosen")
    return bits
