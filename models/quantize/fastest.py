"""The bits at which a network is fastest by a table of latencies, where fewer may be slower."""

from collections.abc import Mapping, Sequence
from itertools import product as combinations
from math import inf, prod

from models.errors import BenchError
from models.quantize.bits import ChosenBits
from models.quantize.counting import Product
from models.quantize.prices import Prices, latency_of, layer_of

_MOST = 100_000  # combinations of bits of what depends on each other

Open = Mapping[str, Sequence[int]]
"""What may be chosen, by the name of a layer or of a place."""


def fastest_bits(prices: Prices, weights: Open, inputs: Open) -> ChosenBits:
    """Return bits of all that is open at which the latency is the least of all; it is exact.

    A layer's latency depends on the bits of its weight and of what it reads, so that only layers
    which share one of these are looked at together. What no layer of the table has in it gets its
    fewest bits.

    prices: with a table. weights, inputs: bits that may be chosen, by owner and by place.

    Raises BenchError for an entry that the table lacks, and where so many layers share what they
    read that their bits cannot be tried.
    """
    best_weights = {name: min(bits) for name, bits in weights.items()}
    best_inputs = {name: min(bits) for name, bits in inputs.items()}
    timed = [product for product in prices.products if layer_of(product)]
    for products in _groups(prices, timed, weights, inputs):
        owners = list(dict.fromkeys(o for p in products if (o := _owner(prices, p)) in weights))
        places = list(dict.fromkeys(q for p in products for q in _read(prices, p) if q in inputs))
        if not owners and not places:
            continue
        if prod(len(inputs[place]) for place in places) > _MOST:
            raise BenchError(
                f"quant.budget.latency_ms: {len(places)} quantizers of activations feed the layer "
                f"{layer_of(products[0])!r} and others; give fewer quant.a_candidates"
            )
        by_owner = {o: [p for p in products if _owner(prices, p) == o] for o in owners}
        others = [p for p in products if _owner(prices, p) not in weights]
        least = inf
        for bits in combinations(*(inputs[place] for place in places)):
            read = dict(zip(places, bits, strict=True))
            total, chosen = latency_of(prices, others, {}, read), dict[str, int]()
            for owner, of_owner in by_owner.items():
                taken = {b: _taken(prices, of_owner, b, read) for b in sorted(weights[owner])}
                chosen[owner] = min(taken, key=taken.__getitem__)
                total += taken[chosen[owner]]
            if total < least:
                least = total
                best_weights |= chosen
                best_inputs |= read
    return ChosenBits(best_weights, best_inputs)


def _taken(
    prices: Prices, products: Sequence[Product], bits: int, inputs: Mapping[str, int]
) -> float:
    """Return the latency of layers of one weight at `bits`."""
    return latency_of(prices, products, {layer_of(p): bits for p in products}, inputs)


def _owner(prices: Prices, product: Product) -> str:
    layer = layer_of(product)
    return prices.owners.get(layer, layer)


def _read(prices: Prices, product: Product) -> list[str]:
    """Return the places whose quantizers what a layer reads has come out of."""
    numbers = sorted(number for factor in product.factors for number in factor.quantizers)
    return [prices.quantizers[number] for number in numbers]


def _groups(
    prices: Prices, products: Sequence[Product], weights: Open, inputs: Open
) -> list[list[Product]]:
    """Return the products in groups of which no two share anything open."""
    groups: list[tuple[set[str], list[Product]]] = []
    for product in products:
        owner = _owner(prices, product)
        shared = {f"input {place}" for place in _read(prices, product) if place in inputs}
        shared |= {f"weight {owner}"} if owner in weights else set()
        names, members = shared, [product]
        apart = []
        for known, of_known in groups:
            if known & shared:
                names, members = names | known, of_known + members
            else:
                apart.append((known, of_known))
        groups = [*apart, (names, members)]
    return [members for _, members in groups]
