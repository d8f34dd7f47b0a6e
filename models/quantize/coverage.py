"""How much of a network is quantized, and what quantizers cannot reach."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.counting import Counts, LayerWeight
from models.quantize.spec import FLOAT_BITS
from models.tracing import place_of

_NAMED = 3


class Coverage(NamedTuple):
    """What of a network is quantized, in percent, 0..100, and what quantizers cannot reach.

    Weights are parameters of two dimensions or more: biases and those of BatchNorms are not.

    weights: those at fewer than 32 bits. foreign_weights: those of no nn.Conv2d or nn.Linear.
    multiplications: the multiply-accumulates of a forward pass by a weight at fewer than 32 bits.
    inputs: those of a quantized input.
    foreign_multiplications: those by no weight of an nn.Conv2d or nn.Linear, by their place, such
        as `convolution in 'stem'`.
    functions: places of the activation functions whose output no quantizer sees.
    quantizers: how many quantizers of activations the image passes.
    tables: how many tables of embeddings at fewer than 32 bits are looked up.
    """

    weights: float
    foreign_weights: float
    multiplications: float
    inputs: float
    foreign_multiplications: Mapping[str, float]
    functions: Sequence[str]
    quantizers: int
    tables: int = 0


def coverage(network: nn.Module, weights: Sequence[LayerWeight], counts: Counts) -> Coverage:
    """Return what of a quantized `network` is quantized.

    weights: of all its convolutions and linear layers. counts: as of `count` with these weights.
    """
    layers = {place_of(weight.parameter): weight for weight in weights}
    sizes = {place_of(p): p.numel() for p in network.parameters() if _is_matrix(p)}
    sizes |= {place: weight.parameter.numel() for place, weight in layers.items()}
    low = sum(sizes[place] for place, weight in layers.items() if weight.bits < FLOAT_BITS)
    foreign = sum(size for place, size in sizes.items() if place not in layers)
    weighing = max(sum(sizes.values()), 1)
    multiplying = max(sum(product.macs for product in counts.products), 1)
    by_weight = of_input = 0
    foreign_macs: Counter[str] = Counter()
    for place, macs, factors, _ in counts.products:
        inputs = [factor for factor in factors if not factor.is_weight]
        by_weight += macs * any(f.is_weight and f.bits < FLOAT_BITS for f in factors)
        of_input += macs * (bool(inputs) and all(f.bits < FLOAT_BITS for f in inputs))
        if len(inputs) == len(factors):
            foreign_macs[place] += macs
    return Coverage(
        weights=100 * low / weighing,
        foreign_weights=100 * foreign / weighing,
        multiplications=100 * by_weight / multiplying,
        inputs=100 * of_input / multiplying,
        foreign_multiplications={k: 100 * n / multiplying for k, n in foreign_macs.items()},
        functions=counts.functions,
        quantizers=counts.quantizers,
        tables=sum(table.bits < FLOAT_BITS for table in counts.tables),
    )


def check_coverage(found: Coverage, weights: bool, activations: bool) -> None:
    """Raise NotApplicable where nothing is quantized of the weights or activations that should."""
    if weights and not found.multiplications and not found.tables:
        places = _places(found.foreign_multiplications)
        raise NotApplicable(
            "nothing would be quantized: only the weights of nn.Conv2d and nn.Linear are, and the "
            f"network multiplies by others: {places}"
        )
    if activations and not found.quantizers:
        raise NotApplicable(
            "nothing would be quantized: the network calls none of the modules that have quantizers"
        )


def shortfalls(found: Coverage, weights: bool, sites: str | None, reach: str = "all") -> list[str]:
    """Return a line each on what stays float although nobody has asked for that.

    weights: whether they are quantized. sites: of quantized activations, None where they are float.
    reach: see `QuantSpec`; what it leaves out is said too, because few expect it.
    """
    lines = []
    if reach != "all" and weights:
        lines.append(
            f"{percent(found.weights)} of the weights and {percent(found.multiplications)} of the "
            f"multiplications are by quantized weights: quant.reach={reach} leaves out what lies "
            "in an nn.ModuleList or in a subclass of nn.Sequential"
        )
    foreign, of_weights = sum(found.foreign_multiplications.values()), found.foreign_weights
    if (weights or sites in ("all", "integer")) and max(
        round(foreign, 1), round(of_weights, 1)
    ) > 0:
        by = f": {_places(found.foreign_multiplications)}" if found.foreign_multiplications else ""
        lines.append(
            f"{percent(foreign)} of the multiplications and {percent(of_weights)} of the weights "
            f"stay float, because only nn.Conv2d and nn.Linear are quantized{by}"
        )
    if sites == "relu" and found.functions and reach == "all":
        lines.append(
            f"{len(found.functions)} activation functions stay float, because only nn.ReLU and "
            f"nn.ReLU6 are quantized: {_places(found.functions)}; {percent(found.inputs)} of the "
            "multiplications have a quantized input"
        )
    elif sites == "relu" and found.functions:
        lines.append(
            f"{len(found.functions)} activation functions stay float, out of reach or of another "
            f"kind than nn.ReLU and nn.ReLU6: {_places(found.functions)}; {percent(found.inputs)} "
            "of the multiplications have a quantized input"
        )
    return lines


def percent(share: float) -> str:
    """Return `share` with one decimal; what is not quite nothing or not quite all says so."""
    if 0 < share < 0.05:
        return "less than 0.1 %"
    if 99.95 <= share < 100:
        return "more than 99.9 %"
    return f"{share:.1f} %"


def _places(places: Iterable[str]) -> str:
    names = list(dict.fromkeys(places))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _is_matrix(x: Tensor) -> bool:
    return sum(size > 1 for size in x.shape) > 1
