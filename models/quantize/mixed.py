"""Mixed precision: the weight bits of each layer, chosen under a budget (ZeroQ, section 3.2).

The budget may be of any cost to which every layer adds its own: sizes, as in the paper, or
operations.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from models.canonical import canonical_copy
from models.errors import BenchError
from models.quantize.activation import stored_layers
from models.quantize.bits import LayerBits, mean_of
from models.quantize.budget import OF_PRODUCTS, OF_WEIGHTS, decided_by, spelled
from models.quantize.fold import fold_batchnorm
from models.quantize.latency import LatencyTable
from models.quantize.layers import (
    bits_of_weights,
    layers_to_quantize,
    special_layers,
    weight_formats,
)
from models.quantize.prices import prices_of, prices_of_layers
from models.quantize.ranges import quantize_weight
from models.quantize.search import pareto
from models.quantize.spec import MIXED, QuantSpec

_BATCH = 32
MIB_BITS = 8 * 2**20

Sensitivity = Mapping[str, Mapping[int, float]]
"""Of a layer, by name, at each bit-width: what quantizing it alone does to the output."""


@dataclass(frozen=True)
class Assignment:
    """The bits of every layer, and the frontier they were chosen from.

    bits: of the weights of every convolution and linear layer, by name.
    size_mb: of all those weights, in MiB; cost: sum of the sensitivities of the free layers.
    frontier: (price, cost) of every choice that no other beats in both, prices rising; the price
        is that of the budget, a size in MiB where the budget is `size_mb` or `mean_bits`.
    price: of the choice.
    """

    bits: dict[str, int]
    size_mb: float
    cost: float
    frontier: list[tuple[float, float]]
    price: float


@dataclass(frozen=True)
class Budget:
    """What a network may cost, and what is open within it.

    name: of the cost. free: what each layer whose bits are to be chosen adds to it at each
        candidate, by name; a size is in bits.
    fixed: bits of the layers that the spec gives bits of their own, by name.
    fixed_price, limit: what all else adds, and what all may come to.
    """

    name: str
    free: dict[str, dict[int, float]]
    fixed: dict[str, int]
    fixed_price: float
    limit: float

    @property
    def unit(self) -> int:
        """How much of the price is one of what is shown: MiB are."""
        return MIB_BITS if self.name in OF_WEIGHTS else 1


def size_mb(network: nn.Module, bits: Mapping[str, LayerBits]) -> float:
    """Return the size of the convolution and linear weights in MiB, at the given bits by name.

    Parameters x bits / 8 / 2^20, as the ZeroQ paper counts, without biases and BatchNorm.
    """
    layers = stored_layers(network)
    # One that several layers share is kept once.
    of_weights = {layers[name].weight: mean_of(b) for name, b in bits.items()}
    return sum(round(weight.numel() * b) for weight, b in of_weights.items()) / MIB_BITS


def mean_bits(network: nn.Module, size_mb: float) -> float | None:
    """Return the bits of a weight where all of them take `size_mb` MiB; None where there is none.

    One that several layers share counts once.
    """
    weights = {layer.weight for layer in stored_layers(network).values()}
    count = sum(weight.numel() for weight in weights)
    return size_mb * MIB_BITS / count if count else None


def uniform_size_mb(network: nn.Module, spec: QuantSpec, image: Tensor) -> float:
    """Return the size of the weights in MiB where no bits are to be chosen.

    image: (1, 3, H, W) normalised input.
    """
    return size_mb(
        network, bits_of_weights(network, spec, special_layers(network, spec, image), {})
    )


def free_layers(network: nn.Module, spec: QuantSpec, image: Tensor) -> list[str]:
    """Return the names of the layers that `spec` gives no bits of their own."""
    fixed = special_layers(network, spec, image)
    return [name for name in layers_to_quantize(network) if name not in fixed]


def budget(
    network: nn.Module, spec: QuantSpec, image: Tensor, table: LatencyTable | None = None
) -> Budget:
    """Return the budget that `spec` sets for `network`; image: (1, 3, H, W) normalised input.

    table: for a limit of latency.

    Raises BenchError when even the fewest bits everywhere cost more, or the most bits no more: then
    there is nothing to choose. Raises NotApplicable when there is no layer to quantize.
    """
    ((name, value),) = spec.limits.items()  # by `check_search`
    weights = {n: layer.weight.numel() for n, layer in layers_to_quantize(network).items()}
    fixed = special_layers(network, spec, image)
    names = free_layers(network, spec, image)
    if name in OF_WEIGHTS:
        unit = MIB_BITS if name == "size_mb" else sum(weights.values())
        free = {n: {b: float(weights[n] * b) for b in spec.w_candidates} for n in names}
        fixed_prices = {n: float(weights[n] * bits) for n, bits in fixed.items()}
        fixed_price = sum(fixed_prices.values())
        limit = value * unit

        def others() -> dict[str, float]:
            return fixed_prices

    else:
        prices = prices_of(network, spec, image, table)
        free, fixed_price = prices_of_layers(prices, names, spec.w_candidates, name)
        limit = value

        def others() -> dict[str, float]:
            at = dict.fromkeys(names, min(spec.w_candidates))  # which a table of latencies has
            return {n: part for n, part in prices.parts(name, at, {}).items() if n not in free}

    found = Budget(name, free, fixed, fixed_price, limit)
    _check_choice(found, spec, value, sum(weights.values()), others)
    return found


def _check_choice(
    budget: Budget,
    spec: QuantSpec,
    value: float,
    weights: int,
    others: Callable[[], Mapping[str, float]],
) -> None:
    """others: returns what each layer that is not free has of the price; called for an error."""
    fewest, most = min(spec.w_candidates), max(spec.w_candidates)
    of_fewest, of_most = (
        budget.fixed_price + sum(prices[bits] for prices in budget.free.values())
        for bits in (fewest, most)
    )
    # By a table of latencies a layer may be slower at fewer bits.
    least = budget.fixed_price + sum(min(prices.values()) for prices in budget.free.values())
    cheapest = f"{fewest} bits" if least == of_fewest else "the fastest bits of each layer"

    def take(price: float, pick: Callable[[Mapping[int, float]], float]) -> str:
        parts = {**others(), **{name: pick(prices) for name, prices in budget.free.items()}}
        where = decided_by(budget.name, parts, budget.fixed)
        if budget.name in OF_WEIGHTS:
            each = f"{price / weights:.2f} bits a weight"
            return f"take {price / MIB_BITS:.3f} MiB, {each}{where}"
        return f"come to {price:.6g}{where}"

    if least > budget.limit:
        raise BenchError(
            f"quant.{spelled(budget.name, value)} is below the smallest possible: {cheapest} "
            f"everywhere they are free {take(least, lambda of: min(of.values()))}"
        )
    if of_most <= budget.limit:
        raise BenchError(
            f"quant.{spelled(budget.name, value)} leaves nothing to choose: {most} bits "
            f"everywhere they are free {take(of_most, lambda of: of[most])}"
        )


def check_search(spec: QuantSpec) -> None:
    """Raise BenchError unless the search can choose what `spec` leaves open.

    That is the bits of weights, within one limit of what they add to.
    """
    if spec.a_bits == MIXED:
        raise BenchError(
            "quant.a_bits=mixed: the search for mixed precision chooses bits of weights alone; "
            "give a number, or a method that chooses both, such as method=haq"
        )
    limits = spec.limits
    if len(limits) != 1:
        raise BenchError(
            "quant=mixed needs one budget: quant.size_mb=MIB, quant.mean_bits=BITS, or another "
            "cost, as in quant.budget={bops: 1e9}"
        )
    (name,) = limits
    if name not in (*OF_WEIGHTS, *OF_PRODUCTS):
        choices = ", ".join((*OF_WEIGHTS, *OF_PRODUCTS))
        raise BenchError(
            f"quant.budget.{name}: the bits of weights do not change it; limit one of {choices}"
        )


@torch.no_grad()
def sensitivity(
    network: nn.Module,
    spec: QuantSpec,
    images: Tensor,
    known: Mapping[str, Mapping[int, float]],
    progress: Callable[[int, int], None],
) -> Iterator[tuple[str, dict[int, float]]]:
    """Yield each free layer's name and, for each candidate bit-width, its sensitivity.

    Omega_i(k) = (1/N) sum_j KL(M(x_j) || M_i,k(x_j)), M_i,k being the float network M with the
    weights of layer i alone quantized to k bits (ZeroQ, section 3.2). In nats, 0 or more.

    images: (N, 3, H, W) normalised input, of any method. known: layers to pass over.
    """
    base = canonical_copy(network, images[:1])
    if spec.fold:
        fold_batchnorm(base, images[:1])
    free = free_layers(base, spec, images[:1])
    reference = _log_probabilities(base, images)
    for done, name in enumerate(free):
        if name not in known:
            layer = stored_layers(base)[name]
            weight, divergences = layer.weight.data, {}
            for bits in spec.w_candidates:
                divergences[bits] = 0.0
                for weight_format in weight_formats({name: bits}, spec).values():
                    layer.weight.data = quantize_weight(weight, weight_format)
                    divergences[bits] = _divergence(reference, _log_probabilities(base, images))
                if not isfinite(divergences[bits]):
                    raise BenchError(
                        f"with {name!r} at {bits} bits the network's output is not finite; "
                        "leave them out of quant.w_candidates"
                    )
            layer.weight.data = weight
            yield name, divergences
        progress(done + 1, len(free))


def assign(network: nn.Module, costs: Sensitivity, budget: Budget) -> Assignment:
    """Return the bits that minimise the sum of sensitivities within the budget: the optimum."""
    names = list(budget.free)
    options = [sorted(costs[name]) for name in names]
    frontier = pareto(
        [[budget.free[n][bits] for bits in of] for n, of in zip(names, options, strict=True)],
        [[costs[n][bits] for bits in of] for n, of in zip(names, options, strict=True)],
    )
    point = frontier.within(budget.limit - budget.fixed_price)
    assert point is not None  # by `budget`
    choice = zip(names, options, frontier.choice(point), strict=True)
    chosen = {name: of[option] for name, of, option in choice}
    bits = {name: {**budget.fixed, **chosen}[name] for name in stored_layers(network)}
    prices = ((frontier.sizes + budget.fixed_price) / budget.unit).tolist()
    return Assignment(
        bits=bits,
        size_mb=size_mb(network, bits),
        cost=float(frontier.costs[point]),
        frontier=list(zip(prices, frontier.costs.tolist(), strict=True)),
        price=prices[point],
    )


def _log_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    logits = [network(batch) for batch in images.split(_BATCH)]
    # At 8 bits the divergence is below what float32 resolves.
    return torch.cat(logits).double().log_softmax(dim=1)


def _divergence(reference: Tensor, other: Tensor) -> float:
    value = kl_div(other, reference, reduction="batchmean", log_target=True).item()
    return max(value, 0.0)  # NaN stays NaN
