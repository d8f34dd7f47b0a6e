"""Mixed precision: sensitivities by their formula, the search against every assignment."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.quantize.activation import weighted_layers
from models.quantize.bits import ChosenBits
from models.quantize.cost import cost
from models.quantize.counting import count, weights_at
from models.quantize.latency import LatencyTable
from models.quantize.mixed import (
    Budget,
    assign,
    budget,
    check_search,
    mean_bits,
    sensitivity,
    size_mb,
    uniform_size_mb,
)
from models.quantize.network import quantize
from models.quantize.prices import Prices, prices_of
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.spec import QuantSpec

MIB = 8 * 2**20


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def mixed(**how: object) -> QuantSpec:
    return QuantSpec("mixed", 8, **({"mean_bits": 4.0} | how))  # type: ignore[arg-type]


def found(network: nn.Module, spec: QuantSpec, images: Tensor) -> dict[str, dict[int, float]]:
    return dict(sensitivity(network, spec, images, {}, lambda done, total: None))


def test_sensitivity_is_the_divergence_of_one_quantized_layer(
    tiny_network: nn.Module, images: Tensor
) -> None:
    before = tiny_network(images)
    name, layer = list(weighted_layers(tiny_network).items())[1]
    by_hand = {}
    weight = layer.weight.detach().clone()
    for bits in (2, 4, 8):
        layer.weight.data = quantize_weight(weight, WeightFormat(bits, "affine", "channel"))
        p, q = before.double().softmax(1), tiny_network(images).double().softmax(1)
        by_hand[bits] = (p * (p / q).log()).sum(1).mean().item()
    layer.weight.data = weight
    got = found(tiny_network, mixed(), images)
    assert list(got) == list(weighted_layers(tiny_network))
    assert got[name] == pytest.approx(by_hand, rel=1e-6)
    assert got[name][2] > got[name][4] > got[name][8] > 0
    assert torch.equal(tiny_network(images), before)


def test_layers_that_are_known_are_passed_over(tiny_network: nn.Module, images: Tensor) -> None:
    whole = found(tiny_network, mixed(), images)
    first, *rest = whole
    steps: list[tuple[int, int]] = []
    again = sensitivity(
        tiny_network, mixed(), images, {first: whole[first]}, lambda *step: steps.append(step)
    )
    assert dict(again) == {name: whole[name] for name in rest}
    assert steps == [(done + 1, len(whole)) for done in range(len(whole))]


@pytest.mark.parametrize("mean_bits", [2, 2.5, 3.1, 4, 5.7, 7.9])
def test_no_assignment_within_the_budget_is_better(
    tiny_network: nn.Module, images: Tensor, mean_bits: float
) -> None:
    spec = mixed(mean_bits=mean_bits)
    omega = found(tiny_network, spec, images)
    chosen = assign(tiny_network, omega, budget(tiny_network, spec, images[:1]))
    weights = {name: layer.weight.numel() for name, layer in weighted_layers(tiny_network).items()}
    limit = mean_bits * sum(weights.values())
    every = [
        dict(zip(weights, bits, strict=True)) for bits in product((2, 4, 8), repeat=len(weights))
    ]

    def size(bits: dict[str, int]) -> int:
        return sum(weights[name] * b for name, b in bits.items())

    def cost(bits: dict[str, int]) -> float:
        return sum(omega[name][b] for name, b in bits.items())

    best = min(cost(bits) for bits in every if size(bits) <= limit)
    assert cost(chosen.bits) == pytest.approx(best, rel=1e-12) == chosen.cost
    assert size(chosen.bits) / MIB == chosen.size_mb <= limit / MIB
    assert (chosen.size_mb, chosen.cost) in chosen.frontier
    assert chosen.frontier[0][0] == pytest.approx(2 * sum(weights.values()) / MIB)


def test_first_and_last_layer_keep_their_bits_and_count(
    tiny_network: nn.Module, images: Tensor
) -> None:
    spec = mixed(first_bits=8, last_bits=8, mean_bits=4)
    first, *between, last = weighted_layers(tiny_network)
    omega = found(tiny_network, spec, images)
    assert list(omega) == between
    chosen = assign(tiny_network, omega, budget(tiny_network, spec, images[:1]))
    assert chosen.bits[first] == chosen.bits[last] == 8
    weights = sum(layer.weight.numel() for layer in weighted_layers(tiny_network).values())
    assert chosen.size_mb == size_mb(tiny_network, chosen.bits) <= 4 * weights / MIB


def test_a_quantized_network_has_the_chosen_bits(tiny_network: nn.Module, images: Tensor) -> None:
    names = list(weighted_layers(tiny_network))
    bits = {name: (2, 4, 8)[i % 3] for i, name in enumerate(names)}
    quantized = quantize(tiny_network, mixed(), images, chosen=ChosenBits(bits)).network
    for name, layer in weighted_layers(quantized).items():
        weight = weighted_layers(tiny_network)[name].weight
        assert torch.equal(
            layer.weight, quantize_weight(weight, WeightFormat(bits[name], "affine", "channel"))
        )
    with pytest.raises(BenchError, match=r"the bits of the layer .* are not chosen"):
        quantize(tiny_network, mixed(), images)


@pytest.mark.parametrize("how", [{"mean_bits": 1.9}, {"mean_bits": None, "size_mb": 1e-5}])
def test_a_budget_below_the_smallest_possible(
    tiny_network: nn.Module, images: Tensor, how: dict[str, float]
) -> None:
    with pytest.raises(BenchError, match=r"is below the smallest possible: 2 bits .* 2\.00 bits a"):
        budget(tiny_network, mixed(**how), images[:1])


@pytest.mark.parametrize("how", [{"mean_bits": 8}, {"mean_bits": None, "size_mb": 50}])
def test_a_budget_that_everything_meets(
    tiny_network: nn.Module, images: Tensor, how: dict[str, float]
) -> None:
    with pytest.raises(BenchError, match=r"leaves nothing to choose: 8 bits .* 8\.00 bits a"):
        budget(tiny_network, mixed(**how), images[:1])


@pytest.mark.parametrize(
    ("limit", "first_bits", "named"),
    [
        ({"mean_bits": 1.5}, None, r"35 % of it in layer 'convs\.1'"),
        ({"mean_bits": 1.5}, 16, r"74 % of it in layer 'convs\.0', whose bits are fixed \(16\)"),
        ({"mean_bits": 9}, None, r"35 % of it in layer 'convs\.1'"),
        ({"bops": 1.5}, None, r"60 % of it in layer 'convs\.0'"),
        ({"bops": 1.5}, 16, r"92 % of it in layer 'convs\.0', whose bits are fixed \(16\)"),
        ({"bops": 1e9}, None, r"60 % of it in layer 'convs\.0'"),
    ],
)
def test_the_layer_that_decides_is_named(
    tiny_network: nn.Module,
    images: Tensor,
    limit: dict[str, float],
    first_bits: int | None,
    named: str,
) -> None:
    spec = mixed(mean_bits=None, budget=limit, first_bits=first_bits)
    with pytest.raises(BenchError, match=f", {named}$"):
        budget(tiny_network, spec, images[:1])


def test_a_layer_may_be_slower_at_fewer_bits(tiny_network: nn.Module, images: Tensor) -> None:
    """As a first convolution is in integers: a table of latencies says so."""
    names = list(weighted_layers(tiny_network))
    times = {
        name: {(w, a): ms for w, ms in ((8, 1.0), (32, 2.0)) for a in (8, 32)} for name in names
    }
    times[names[0]] = {(8, 8): 5.0, (32, 8): 3.0}
    table, rest = LatencyTable("here", times), len(names) - 1

    def within(ms: float) -> Budget:
        spec = mixed(mean_bits=None, budget={"latency_ms": ms}, latency_table="here",
                     w_candidates=(8, 32))  # fmt: skip
        return budget(tiny_network, spec, images[:1], table)

    costs = {name: {8: 0.1, 32: 0.0} for name in names}
    chosen = assign(tiny_network, costs, within(3.0 + rest))
    assert (chosen.bits[names[0]], chosen.price) == (32, 3.0 + rest)
    assert {chosen.bits[name] for name in names[1:]} == {8}
    only_integers = {name: {(8, 8): 1.0, (4, 8): 0.5} for name in names}
    spec = mixed(mean_bits=None, budget={"latency_ms": len(names) - 0.1}, latency_table="here",
                 sites="all", w_candidates=(4, 8))  # fmt: skip
    found = budget(tiny_network, spec, images[:1], LatencyTable("here", only_integers))
    assert found.free == {name: {4: 0.5, 8: 1.0} for name in names}
    with pytest.raises(BenchError, match="smallest possible: the fastest bits of each layer every"):
        within(2.9 + rest)
    with pytest.raises(BenchError, match="leaves nothing to choose: 32 bits everywhere"):
        within(3.0 + 2 * rest)


def test_what_each_layer_costs_is_asked_for_only_in_an_error(
    tiny_network: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(*given: object) -> dict[str, float]:
        raise AssertionError("nobody reads it")

    prices = prices_of(tiny_network, mixed(mean_bits=3), images[:1])
    macs = sum(product.macs for product in prices.products)
    monkeypatch.setattr(Prices, "parts", parts)
    found = budget(tiny_network, mixed(mean_bits=None, budget={"mac_bits": 4 * macs}), images[:1])
    assert found.limit == 4 * macs
    with pytest.raises(AssertionError, match="nobody reads it"):
        budget(tiny_network, mixed(mean_bits=None, budget={"mac_bits": 1}), images[:1])


COSTS = ("mac_bits", "bops", "bops_percent", "bops_with_additions")


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("special", [{}, {"first_bits": 8, "last_bits": 6, "sites": "all"}])
def test_the_choice_within_operations_is_the_best(
    tiny_network: nn.Module, images: Tensor, name: str, special: dict[str, object]
) -> None:
    layers = list(weighted_layers(tiny_network))

    def taken(bits: dict[str, int]) -> float:
        spec = QuantSpec(32, 8, **special)  # type: ignore[arg-type]
        made = quantize(tiny_network, spec, images)
        inputs = {quantizer: quantizer.bits for quantizer in made.quantizers.values()}
        counts = count(made.network, weights_at(made.network, bits), inputs, images[:1])
        return getattr(cost(counts.products), name)

    fixed = {layers[0]: 8, layers[-1]: 6} if special else {}
    every = [
        dict(zip(layers, bits, strict=True)) | fixed for bits in product((2, 4), repeat=len(layers))
    ]
    costs = [taken(bits) for bits in every]
    limit = sorted(costs)[len(costs) // 2]
    budgeted = {"mean_bits": None, "budget": {name: limit}, "w_candidates": [2, 4]}
    spec = mixed(**budgeted, **special)
    omega = found(tiny_network, spec, images)
    chosen = assign(tiny_network, omega, budget(tiny_network, spec, images[:1]))

    def change(bits: dict[str, int]) -> float:
        return sum(omega[layer][b] for layer, b in bits.items() if layer in omega)

    best = min(change(b) for b, c in zip(every, costs, strict=True) if c <= limit * (1 + 1e-12))
    assert change(chosen.bits) == pytest.approx(best, rel=1e-12)
    assert taken(chosen.bits) <= limit * (1 + 1e-12)
    at_point = [price for price, of in chosen.frontier if of == chosen.cost]
    assert at_point == [pytest.approx(taken(chosen.bits), rel=1e-9)]


def test_a_budget_that_the_search_cannot_heed() -> None:
    needs = "quant=mixed needs one budget: quant.size_mb=MIB, quant.mean_bits=BITS, or another"
    for spec, line in (
        (QuantSpec("mixed", 8), needs),
        (QuantSpec("mixed", 8, mean_bits=4, size_mb=1), needs),
        (QuantSpec("mixed", "mixed", mean_bits=4), "quant.a_bits=mixed: the search"),
        (mixed(mean_bits=None, budget={"activations_mb": 1}), "quant.budget.activations_mb: the"),
    ):
        with pytest.raises(BenchError) as caught:
            check_search(spec)
        assert str(caught.value).startswith(line)


def test_mean_bits_of_a_size(tiny_network: nn.Module) -> None:
    bits = dict.fromkeys(weighted_layers(tiny_network), 3)
    assert mean_bits(tiny_network, size_mb(tiny_network, bits)) == pytest.approx(3)
    assert mean_bits(nn.ReLU(), 0.0) is None


def test_size_of_equal_bits(tiny_network: nn.Module, images: Tensor) -> None:
    layers = weighted_layers(tiny_network)
    weights = [layer.weight.numel() for layer in layers.values()]
    size = uniform_size_mb(tiny_network, QuantSpec(4, 8, first_bits=8), images[:1])
    assert size == (4 * sum(weights) + 4 * weights[0]) / MIB


def test_a_layer_that_ruins_the_network_is_named(tiny_network: nn.Module, images: Tensor) -> None:
    tiny_network.register_forward_hook(lambda module, args, output: output * float("inf"))
    with pytest.raises(BenchError, match="the network's output is not finite"):
        found(tiny_network, mixed(), images)
