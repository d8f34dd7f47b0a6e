"""What a quantized network costs: memory and arithmetic, from what one image makes it multiply."""

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

from models.quantize.counting import Product
from models.quantize.latency import LatencyTable
from models.quantize.spec import FLOAT_BITS

_MIB_BITS = 8 * 2**20
_IMAGE_BITS = 8


class Cost(NamedTuple):
    """Of one image. Where the bits of a weight differ by channel, they count as their mean.

    activations_mb: the tensors that convolutions, linear layers and products of activations read,
        each once, at their bits, in MiB; largest_activation_mb: the largest of them;
        mean_activation_bits: of a value in them.
    macs: multiply-accumulates. mac_bits: the sum over products of macs x bits of the weight.
    bops: bit operations, the sum of macs x bits of the weight x bits of the input (Bayesian Bits,
        van Baalen et al., NeurIPS 2020, section 4), without additions.
    bops_percent: of those of the float network, 32 x 32 bits, with 8 bits for the image where it is
        not quantized: how Bayesian Bits' release reports them.
    bops_with_additions: bit operations as UNIQ (Baskin et al., 2018, section 4.2) and most after it
        count them: macs x (b_w b_a + b_w + b_a + log2 n), n being the terms of a sum, for
        multiplying and for adding in an accumulator of b_w + b_a + log2 n bits.
    latency_ms: of all layers, by a table of latencies; None without one.
    """

    activations_mb: float
    largest_activation_mb: float
    mean_activation_bits: float
    macs: int
    mac_bits: int
    bops: int
    bops_percent: float
    bops_with_additions: int
    latency_ms: float | None = None


def cost(products: Sequence[Product], table: LatencyTable | None = None) -> Cost:
    """Return what `products`, those of `count`, cost.

    table: with the names of all layers in them. Raises BenchError for an entry that it lacks.
    """
    maps: dict[int, tuple[float, int]] = {}
    macs = 0
    mac_bits = bops = with_image = with_additions = 0.0
    for product in products:
        first, second = product.factors
        macs += product.macs
        mac_bits += product.macs * (second if second.is_weight else first).bits
        bops += product.macs * first.bits * second.bits
        accumulator = first.bits + second.bits + log2(product.terms)
        with_additions += product.macs * (first.bits * second.bits + accumulator)
        bits = [
            _IMAGE_BITS if f.is_image and f.bits == FLOAT_BITS else f.bits for f in product.factors
        ]
        with_image += product.macs * bits[0] * bits[1]
        for factor in product.factors:
            if not factor.is_weight:
                size = factor.values * factor.bits
                maps[factor.tensor] = max((size, factor.values), maps.get(factor.tensor, (0, 0)))
    size_bits, values = (sum(of) for of in zip(*maps.values(), strict=True)) if maps else (0, 0)
    return Cost(
        activations_mb=size_bits / _MIB_BITS,
        largest_activation_mb=max((size for size, _ in maps.values()), default=0) / _MIB_BITS,
        mean_activation_bits=size_bits / max(values, 1),
        macs=macs,
        mac_bits=round(mac_bits),
        bops=round(bops),
        bops_percent=100 * with_image / max(macs * FLOAT_BITS**2, 1),
        bops_with_additions=round(with_additions),
        latency_ms=None if table is None else _latency(products, table),
    )


def _latency(products: Sequence[Product], table: LatencyTable) -> float:
    """Return the sum over the layers; one whose image is not quantized has it at 8 bits."""
    total = 0.0
    for product in products:
        first, second = product.factors
        weight, other = (first, second) if first.is_weight else (second, first)
        if weight.is_weight and weight.layer:
            image = other.is_image and other.bits == FLOAT_BITS
            total += table.ms(weight.layer, weight.bits, _IMAGE_BITS if image else other.bits)
    return total
