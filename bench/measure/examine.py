"""What a network costs and what of it is quantized, once its bits are known."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from models.quantize.activation import stored_layers
from models.quantize.cost import Cost, cost
from models.quantize.counting import Counts, LayerWeight, count, weights_at
from models.quantize.coverage import Coverage, check_coverage, coverage
from models.quantize.latency import LatencyTable
from models.quantize.network import QuantizedNetwork
from models.quantize.prices import layer_of
from models.quantize.spec import FLOAT_BITS


def examined(
    network: nn.Module,
    weights: Sequence[LayerWeight],
    quantizers: Mapping[nn.Module, int],
    image: Tensor,
    table: LatencyTable | None,
) -> tuple[Cost, Coverage]:
    """Return cost and coverage of a pass of `image`: see `models.quantize.counting.count`.

    table: of latencies, where there is one.
    """
    counts = count(network, weights, quantizers, image)
    return cost(counts.products, _named(table, counts)), coverage(network, weights, counts)


def examined_post_training(
    made: QuantizedNetwork, image: Tensor, table: LatencyTable | None
) -> tuple[Cost | None, Coverage | None]:
    """Return the same of a network quantized after training; None of one whose bits are not known.

    Raises BenchError where what is to be quantized is float.
    """
    if made.weight_bits is None:
        return None, None
    bits: dict[nn.Module, int] = {each: each.bits for each in made.quantizers.values()}
    weights = weights_at(made.network, made.weight_bits)
    price, found = examined(made.network, weights, bits, image, table)
    asked = any(bits != FLOAT_BITS for bits in made.weight_bits.values())
    check_coverage(found, weights=asked, activations=bool(made.quantizers))
    return price, found


def float_cost(network: nn.Module, image: Tensor) -> Cost:
    """Return what the float `network` costs for `image`."""
    weights = weights_at(network, dict.fromkeys(stored_layers(network), FLOAT_BITS))
    return cost(count(network, weights, {}, image).products)


def _named(table: LatencyTable | None, counts: Counts) -> LatencyTable | None:
    """Return the table with the names of the layers that `counts` has."""
    if table is None:
        return None
    called = dict.fromkeys(layer_of(product) for product in counts.products)
    return table.named([name for name in called if name])
