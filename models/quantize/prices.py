"""What a network costs at bits that are not decided yet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.canonical import canonical_copy
from models.quantize.activation import stored_layers
from models.quantize.bits import LayerBits, mean_of
from models.quantize.budget import LARGEST, LATENCY, OF_ACTIVATIONS, OF_WEIGHTS, Limits
from models.quantize.calibration import calibrated
from models.quantize.cost import cost
from models.quantize.counting import Factor, Product, count, weights_at
from models.quantize.fold import fold_batchnorm
from models.quantize.latency import LatencyTable
from models.quantize.layers import bits_of_weights, special_layers
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec

_MIB_BITS = 8 * 2**20


@dataclass(frozen=True)
class Prices:
    """What one image makes a network multiply, to be priced at any bits.

    products: as of `count`. sizes: numbers of weights of the layers, by name, each weight once.
    owners: of each layer, the one of these whose weight it has.
    quantizers: names of the places whose numbers are in the products.
    table: with the names of the layers.
    """

    products: tuple[Product, ...]
    sizes: Mapping[str, int]
    owners: Mapping[str, str]
    quantizers: tuple[str, ...]
    table: LatencyTable | None = None

    def totals(
        self, names: Sequence[str], weights: Mapping[str, LayerBits], inputs: Mapping[str, int]
    ) -> dict[str, float]:
        """Return the costs called `names` at bits by layer and by place.

        What is not among them has the bits that it was counted with.
        """
        means = {layer: mean_of(bits) for layer, bits in weights.items()}
        totals: dict[str, float] = {}
        if set(names) & set(OF_WEIGHTS):
            size = sum(round(self.sizes[n] * b) for n, b in means.items() if n in self.sizes)
            totals |= {"size_mb": size / _MIB_BITS, "mean_bits": size / sum(self.sizes.values())}
        if set(names) - set(OF_WEIGHTS):
            by_number = [inputs.get(name) for name in self.quantizers]
            totals |= cost([_at(p, means, by_number) for p in self.products], self.table)._asdict()
        return {name: totals[name] for name in names}

    def parts(
        self, name: str, weights: Mapping[str, LayerBits], inputs: Mapping[str, int]
    ) -> dict[str, float]:
        """Return what each layer has of the cost called `name`, by its name or else its place.

        Sizes and means are in bits. A tensor that several layers read is that of the first.
        Arguments as of `totals`.
        """
        means = {layer: mean_of(bits) for layer, bits in weights.items()}
        if name in OF_WEIGHTS:
            return {n: self.sizes[n] * bits for n, bits in means.items() if n in self.sizes}
        by_number = [inputs.get(each) for each in self.quantizers]
        products = [_at(product, means, by_number) for product in self.products]
        if name in OF_ACTIVATIONS:
            each = _maps(products)
        else:
            macs = sum(product.macs for product in products)
            each = ((_reader(p), _of_products([p], macs, name, self.table)) for p in products)
        found: dict[str, float] = {}
        for layer, part in each:
            known = found.get(layer, 0.0)
            found[layer] = max(known, part) if name == LARGEST else known + part
        return found

    def inputs_of_layers(self, inputs: Mapping[str, int]) -> dict[str, int | float]:
        """Return the bits of what each layer reads, 32 of what no quantizer sees.

        inputs: bits by place; what is not among them has the bits that it was counted with.
        """
        by_number = [inputs.get(name) for name in self.quantizers]
        at = [_at(product, {}, by_number) for product in self.products]
        return {
            layer: factor.bits
            for product in reversed(at)  # of a layer that is called twice the first
            if (layer := layer_of(product))
            for factor in product.factors
            if not factor.is_weight
        }

    def fit(
        self, limits: Limits, weights: Mapping[str, LayerBits], inputs: Mapping[str, int]
    ) -> bool:
        """Return whether a network at these bits costs no more than `limits`."""
        totals = self.totals(list(limits), weights, inputs)
        return all(totals[name] <= limit for name, limit in limits.items())


@torch.no_grad()
def prices_of(
    network: nn.Module, spec: QuantSpec, image: Tensor, table: LatencyTable | None = None
) -> Prices:
    """Return the prices of `network` with the quantizers of `spec`.

    Bits that `spec` leaves open are counted as 32, or 8 for activations.
    image: (1, 3, H, W) normalised input. Raises BenchError where the table lacks a layer.
    """
    open_inputs = spec.a_bits == MIXED
    how = replace(
        spec.with_inputs_at(8) if open_inputs else spec,
        a_range="minmax",  # ranges have no part in it
        a_granularity="tensor",
    )
    base = canonical_copy(network, image)
    if spec.fold:
        fold_batchnorm(base, image)
    special = special_layers(base, spec, image)
    layers = stored_layers(base)
    weights = bits_of_weights(base, spec, special, dict.fromkeys(layers, FLOAT_BITS) | special)
    quantizers = calibrated(base, how, special, image)
    bits: dict[nn.Module, int] = {each: each.bits for each in quantizers.values()}
    products = count(base, weights_at(base, weights), bits, image).products
    first = {layer.weight: name for name, layer in reversed(list(layers.items()))}
    called = list(dict.fromkeys(filter(None, map(layer_of, products))))
    return Prices(
        products,
        {name: weight.numel() for weight, name in first.items()},
        {name: first[layer.weight] for name, layer in layers.items()},
        tuple(quantizers),
        None if table is None else table.named(called),
    )


def layer_of(product: Product) -> str:
    """Return the name of the layer whose weight is in `product`, "" where there is none."""
    return next((f.layer for f in product.factors if f.is_weight), "")


def prices_of_layers(
    prices: Prices, free: Sequence[str], candidates: Sequence[int], name: str
) -> tuple[dict[str, dict[int, float]], float]:
    """Return what each layer in `free` adds to a cost at each candidate, and what all else adds.

    name: of a cost that is a sum over products.
    """
    of_layer: dict[str, list[Product]] = {layer: [] for layer in free}
    rest: list[Product] = []
    for product in prices.products:
        of_layer.get(layer_of(product), rest).append(product)
    macs = sum(product.macs for product in prices.products)

    def price(part: Sequence[Product], bits: Mapping[str, float]) -> float:
        return _of_products([_at(p, bits, ()) for p in part], macs, name, prices.table)

    return {
        layer: {b: price(part, {layer: b}) for b in candidates} for layer, part in of_layer.items()
    }, price(rest, {})


def latency_of(
    prices: Prices,
    products: Sequence[Product],
    weights: Mapping[str, float],
    inputs: Mapping[str, int],
) -> float:
    """Return the latency of some of the products, in ms, at bits by layer and by place.

    prices: with a table. Raises BenchError for an entry that it lacks.
    """
    by_number = [inputs.get(name) for name in prices.quantizers]
    at = [_at(product, weights, by_number) for product in products]
    return _of_products(at, 1, LATENCY, prices.table)


def _of_products(
    part: Sequence[Product], macs: int, name: str, table: LatencyTable | None
) -> float:
    """Return what some products add to a cost that is a sum over all, of which there are `macs`."""
    found = cost(part, table)
    # A share of all operations, where the cost is one.
    value: float = getattr(found, name) * (found.macs / macs if name == "bops_percent" else 1)
    return value


def _reader(product: Product) -> str:
    return layer_of(product) or product.place


def _maps(products: Sequence[Product]) -> Iterator[tuple[str, float]]:
    """Yield the first reader and the size in bits of each tensor of activations."""
    sizes: dict[int, float] = {}
    readers: dict[int, str] = {}
    for product in products:
        for factor in product.factors:
            if not factor.is_weight:
                size = factor.values * factor.bits
                sizes[factor.tensor] = max(size, sizes.get(factor.tensor, 0.0))
                readers.setdefault(factor.tensor, _reader(product))
    return ((readers[tensor], size) for tensor, size in sizes.items())


def _at(product: Product, weights: Mapping[str, float], inputs: Sequence[int | None]) -> Product:
    """Return `product` at bits by layer, and by the number of a quantizer."""

    def bits(factor: Factor) -> float:
        if factor.is_weight:
            return weights.get(factor.layer, factor.bits)
        known = [inputs[number] for number in factor.quantizers if number < len(inputs)]
        return max((b for b in known if b is not None), default=factor.bits)

    first, second = (f._replace(bits=bits(f)) for f in product.factors)
    return product._replace(factors=(first, second))
