"""What each layer adds to the operations of a quantized network, at any bits of its weight."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.canonical import canonical_copy
from models.quantize.activation import weighted_layers
from models.quantize.calibration import calibrated
from models.quantize.cost import Cost, cost
from models.quantize.counting import Product, count, weights_at
from models.quantize.fold import fold_batchnorm
from models.quantize.network import bits_of_weights, special_layers
from models.quantize.spec import FLOAT_BITS, QuantSpec


@torch.no_grad()
def products_of(network: nn.Module, spec: QuantSpec, image: Tensor) -> list[Product]:
    """Return what `network` multiplies with activations at the bits of `spec`.

    Weights whose bits `spec` leaves open are counted as float ones. image: (1, 3, H, W)
    normalised input.
    """
    spec = replace(spec, a_range="minmax", a_granularity="tensor")  # ranges have no part in it
    base = canonical_copy(network, image)
    if spec.fold:
        fold_batchnorm(base, image)
    special = special_layers(base, spec, image)
    open_ = dict.fromkeys(weighted_layers(base), FLOAT_BITS) | special
    quantizers = calibrated(base, spec, special, image)
    weights = weights_at(base, bits_of_weights(base, spec, special, open_))
    bits: dict[nn.Module, int] = {each: each.bits for each in quantizers.values()}
    return list(count(base, weights, bits, image).products)


def with_bits(product: Product, bits: float) -> Product:
    """Return `product` with the weight in it at `bits`."""
    first, second = (f._replace(bits=bits) if f.is_weight else f for f in product.factors)
    return product._replace(factors=(first, second))


def layer_of(product: Product) -> str:
    """Return the name of the layer whose weight is in `product`, "" where there is none."""
    return next((f.layer for f in product.factors if f.is_weight), "")


def prices_of_products(
    network: nn.Module, spec: QuantSpec, image: Tensor, free: Sequence[str], name: str
) -> tuple[dict[str, dict[int, float]], float]:
    """Return what each layer in `free` adds to a cost at each candidate, and what all else adds.

    name: of a cost that is a sum over products. image: (1, 3, H, W) normalised input.
    """
    products = products_of(network, spec, image)
    of_layer: dict[str, list[Product]] = {layer: [] for layer in free}
    rest: list[Product] = []
    for product in products:
        of_layer.get(layer_of(product), rest).append(product)
    macs = sum(product.macs for product in products)

    def price(part: Sequence[Product]) -> float:
        found: Cost = cost(part)
        # A share of all operations, where the cost is one.
        return getattr(found, name) * (found.macs / macs if name == "bops_percent" else 1)

    return {
        layer: {b: price([with_bits(p, b) for p in part]) for b in spec.w_candidates}
        for layer, part in of_layer.items()
    }, price(rest)
