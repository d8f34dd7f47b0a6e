"""What a network would cost at bits that are not decided yet: what it then costs."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.quantize.activation import weighted_layers
from models.quantize.bits import ChosenBits, mean_of
from models.quantize.budget import COSTS, LARGEST
from models.quantize.cost import cost
from models.quantize.counting import count, weights_at
from models.quantize.latency import LatencyTable
from models.quantize.mixed import size_mb
from models.quantize.network import quantize
from models.quantize.prices import layer_of, prices_of
from models.quantize.spec import QuantSpec

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sites", ["relu", "all"])
def test_a_price_is_the_cost_of_the_network(tiny_network: nn.Module, sites: str) -> None:
    spec = QuantSpec("mixed", "mixed", sites=sites, last_bits=6)
    layers = weighted_layers(tiny_network)
    names = list(layers)
    table = {name: {(b, a): b + a / 10 for b in range(1, 9) for a in (2, 8, 32)} for name in names}
    latencies = LatencyTable("here", table)
    prices = prices_of(tiny_network, spec, IMAGES[:1], latencies)
    weights = dict.fromkeys(names, 3) | {names[-1]: 6}
    weights[names[0]] = tuple([2, 4] * (len(layers[names[0]].weight) // 2))  # type: ignore[assignment]
    inputs = dict.fromkeys(prices.quantizers, 8) | {prices.quantizers[0]: 2}
    made = quantize(
        tiny_network, replace(spec, a_bits=4), IMAGES, chosen=ChosenBits(weights, inputs)
    )
    assert {name: q.bits for name, q in made.quantizers.items()} == inputs
    assert made.weight_bits is not None
    by_module = {quantizer: quantizer.bits for quantizer in made.quantizers.values()}
    counts = count(made.network, weights_at(made.network, made.weight_bits), by_module, IMAGES[:1])
    found = cost(counts.products, latencies.named(names))
    asked = [*found._fields, "size_mb", "mean_bits"]
    totals = prices.totals(asked, weights, inputs)
    assert {k: totals[k] for k in found._fields} == pytest.approx(found._asdict())
    assert totals["size_mb"] == pytest.approx(size_mb(tiny_network, weights))
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    bits = sum(sizes[name] * mean_of(b) for name, b in weights.items())
    assert totals["mean_bits"] == pytest.approx(bits / sum(sizes.values()))
    assert prices.fit({"bops": totals["bops"], "mean_bits": 99}, weights, inputs)
    assert not prices.fit({"bops": totals["bops"] - 1, "mean_bits": 99}, weights, inputs)


def test_parts_are_what_a_cost_consists_of(tiny_network: nn.Module) -> None:
    spec = QuantSpec("mixed", "mixed", sites="all")
    names = list(weighted_layers(tiny_network))
    table = {name: {(b, a): b + a / 10 for b in range(1, 9) for a in (2, 8, 32)} for name in names}
    prices = prices_of(tiny_network, spec, IMAGES[:1], LatencyTable("here", table))
    at = dict.fromkeys(names, 3) | {names[0]: 2}, dict.fromkeys(prices.quantizers, 8)
    totals = prices.totals(COSTS, *at)
    weights = sum(prices.sizes.values())
    for name in COSTS:
        parts = prices.parts(name, *at)
        assert set(parts) <= set(names)
        found = max(parts.values()) if name == LARGEST else sum(parts.values())
        unit = {"mean_bits": weights, "mean_activation_bits": found / totals[name]}.get(
            name, 2**23 if name.endswith("_mb") else 1
        )
        assert found / unit == pytest.approx(totals[name]), name
    macs = {layer_of(product): product.macs for product in prices.products}
    bops = prices.parts("bops", *at)
    assert bops[names[1]] == macs[names[1]] * 3 * 8
    assert prices.parts("activations_mb", *at)[names[0]] == 3 * 64 * 8


def test_inputs_are_those_that_a_layer_reads(tiny_network: nn.Module) -> None:
    spec = QuantSpec("mixed", "mixed", sites="all")
    prices = prices_of(tiny_network, spec, IMAGES[:1])
    bits = {name: 2 + place for place, name in enumerate(prices.quantizers)}
    assert prices.inputs_of_layers(bits) == bits  # at all inputs a place is named by its layer
    behind_relu = prices_of(tiny_network, replace(spec, sites="relu"), IMAGES[:1])
    first, *_ = weighted_layers(tiny_network)
    read = behind_relu.inputs_of_layers(dict.fromkeys(behind_relu.quantizers, 4))
    assert read[first] == 32  # the image
    assert 4 in read.values()


def test_two_layers_of_one_weight_have_one_size(tiny_network: nn.Module) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).relu()).mean((2, 3))

    prices = prices_of(Shared(), QuantSpec("mixed", 32, mean_bits=3), IMAGES[:1])
    assert prices.sizes == {"first": 9}
    assert prices.owners == {"first": "first", "second": "first"}
