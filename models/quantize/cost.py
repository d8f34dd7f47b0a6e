"""What a quantized network costs: memory and arithmetic, from what one image makes it multiply."""

from collections.abc import Sequence
from typing import NamedTuple

from models.quantize.counting import Product
from models.quantize.spec import FLOAT_BITS

_MIB_BITS = 8 * 2**20
_IMAGE_BITS = 8


class Cost(NamedTuple):
    """Of one image.

    activations_mb: the tensors that convolutions, linear layers and products of activations read,
        each once, at their bits, in MiB; largest_activation_mb: the largest of them.
    macs: multiply-accumulates. mac_bits: the sum over products of macs x bits of the weight.
    bops: bit operations, the sum of macs x bits of the weight x bits of the input (Bayesian Bits,
        van Baalen et al., NeurIPS 2020, section 4), without additions.
    bops_percent: of those of the float network, 32 x 32 bits, with 8 bits for the image where it is
        not quantized: how Bayesian Bits' release reports them.
    """

    activations_mb: float
    largest_activation_mb: float
    macs: int
    mac_bits: int
    bops: int
    bops_percent: float


def cost(products: Sequence[Product]) -> Cost:
    """Return what `products`, those of `count`, cost."""
    maps: dict[int, int] = {}
    macs = mac_bits = bops = with_image = 0
    for product in products:
        first, second = product.factors
        macs += product.macs
        mac_bits += product.macs * (second if second.is_weight else first).bits
        bops += product.macs * first.bits * second.bits
        bits = [
            _IMAGE_BITS if f.is_image and f.bits == FLOAT_BITS else f.bits for f in product.factors
        ]
        with_image += product.macs * bits[0] * bits[1]
        for factor in product.factors:
            if not factor.is_weight:
                size = factor.values * factor.bits
                maps[factor.tensor] = max(size, maps.get(factor.tensor, 0))
    return Cost(
        activations_mb=sum(maps.values()) / _MIB_BITS,
        largest_activation_mb=max(maps.values(), default=0) / _MIB_BITS,
        macs=macs,
        mac_bits=mac_bits,
        bops=bops,
        bops_percent=100 * with_image / max(macs * FLOAT_BITS**2, 1),
    )
