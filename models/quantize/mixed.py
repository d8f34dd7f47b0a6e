"""Mixed precision: the weight bits of each layer, chosen under a budget (ZeroQ, section 3.2)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from models.canonical import canonical_copy
from models.errors import BenchError
from models.quantize.activation import weighted_layers
from models.quantize.fold import fold_batchnorm
from models.quantize.network import (
    bits_of_weights,
    layers_to_quantize,
    special_layers,
    weight_formats,
)
from models.quantize.ranges import quantize_weight
from models.quantize.search import Frontier, pareto
from models.quantize.spec import QuantSpec

_BATCH = 32
MIB_BITS = 8 * 2**20

Sensitivity = Mapping[str, Mapping[int, float]]
"""Of a layer, by name, at each bit-width: what quantizing it alone does to the output."""


@dataclass(frozen=True)
class Assignment:
    """The bits of every layer, and the frontier they were chosen from.

    bits: of the weights of every convolution and linear layer, by name.
    size_mb: of all those weights, in MiB; cost: sum of the sensitivities of the free layers.
    frontier: (size_mb, cost) of every choice that no other beats in both, sizes rising.
    """

    bits: dict[str, int]
    size_mb: float
    cost: float
    frontier: list[tuple[float, float]]


@dataclass(frozen=True)
class Budget:
    """What a network's weights may take, and what is open within it.

    free: number of weights of each layer whose bits are to be chosen, by name.
    fixed: bits of the layers that the spec gives bits of their own, by name.
    fixed_size, size: of those layers, and of all layers at most, in bits.
    """

    free: dict[str, int]
    fixed: dict[str, int]
    fixed_size: int
    size: float


def size_mb(network: nn.Module, bits: Mapping[str, int]) -> float:
    """Return the size of the convolution and linear weights in MiB, at the given bits by name.

    Parameters x bits / 8 / 2^20, as the ZeroQ paper counts, without biases and BatchNorm.
    """
    layers = weighted_layers(network)
    # One that several layers share is kept once.
    of_weights = {layers[name].weight: b for name, b in bits.items()}
    return sum(weight.numel() * b for weight, b in of_weights.items()) / MIB_BITS


def uniform_size_mb(network: nn.Module, spec: QuantSpec, image: Tensor) -> float:
    """Return the size of the weights in MiB where no bits are to be chosen.

    image: (1, 3, H, W) normalised input.
    """
    return size_mb(
        network, bits_of_weights(network, spec, special_layers(network, spec, image), {})
    )


def budget(network: nn.Module, spec: QuantSpec, image: Tensor) -> Budget:
    """Return the budget that `spec` sets for `network`; image: (1, 3, H, W) normalised input.

    Raises BenchError when even the fewest bits everywhere take more, NotApplicable when there is
    no layer to quantize.
    """
    weights = {name: layer.weight.numel() for name, layer in layers_to_quantize(network).items()}
    fixed = special_layers(network, spec, image)
    free = {name: count for name, count in weights.items() if name not in fixed}
    fixed_size = sum(weights[name] * bits for name, bits in fixed.items())
    if spec.size_mb is not None:
        limit, size = f"size_mb={spec.size_mb}", spec.size_mb * MIB_BITS
    else:
        assert spec.mean_bits is not None  # by QuantSpec
        limit, size = f"mean_bits={spec.mean_bits}", spec.mean_bits * sum(weights.values())
    least = fixed_size + min(spec.w_candidates) * sum(free.values())
    if least > size:
        raise BenchError(
            f"quant.{limit} is below the smallest possible: {min(spec.w_candidates)} bits "
            f"everywhere they are free take {least / MIB_BITS:.3f} MiB, "
            f"{least / sum(weights.values()):.2f} bits a weight"
        )
    return Budget(free, fixed, fixed_size, size)


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
    free = budget(base, spec, images[:1]).free
    reference = _log_probabilities(base, images)
    for done, name in enumerate(free):
        if name not in known:
            layer = weighted_layers(base)[name]
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
        [
            [budget.free[name] * bits for bits in of]
            for name, of in zip(names, options, strict=True)
        ],
        [[costs[name][bits] for bits in of] for name, of in zip(names, options, strict=True)],
    )
    point = frontier.within(budget.size - budget.fixed_size)
    assert point is not None  # by `budget`
    choice = zip(names, options, frontier.choice(point), strict=True)
    chosen = {name: of[option] for name, of, option in choice}
    bits = {name: {**budget.fixed, **chosen}[name] for name in weighted_layers(network)}
    return Assignment(
        bits=bits,
        size_mb=size_mb(network, bits),
        cost=float(frontier.costs[point]),
        frontier=_points(frontier, budget.fixed_size),
    )


def _points(frontier: Frontier, fixed_size: int) -> list[tuple[float, float]]:
    sizes = ((frontier.sizes + fixed_size) / MIB_BITS).tolist()
    return list(zip(sizes, frontier.costs.tolist(), strict=True))


def _log_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    logits = [network(batch) for batch in images.split(_BATCH)]
    # At 8 bits the divergence is below what float32 resolves.
    return torch.cat(logits).double().log_softmax(dim=1)


def _divergence(reference: Tensor, other: Tensor) -> float:
    value = kl_div(other, reference, reduction="batchmean", log_target=True).item()
    return max(value, 0.0)  # NaN stays NaN
