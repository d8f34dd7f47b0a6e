"""What is decided, in which order, and what is told of it."""

import torch
from torch import nn

from methods.search.decisions import Decision, decisions, features
from models.quantize.prices import prices_of
from models.quantize.spec import QuantSpec
from tests.methods.search.problems import Small

IMAGE = torch.zeros(1, 3, 8, 8)


def of(network: nn.Module, spec: QuantSpec, fixed: tuple[str, ...] = ()) -> list[Decision]:
    return decisions(prices_of(network, spec, IMAGE), spec, fixed)


def test_the_weight_of_a_layer_before_its_input() -> None:
    both = QuantSpec("mixed", "mixed", sites="all", w_candidates=(4, 2), a_candidates=(3,))
    found = of(Small(), both)
    assert [(d.name, d.is_input, d.candidates) for d in found] == [
        (name, is_input, (3,) if is_input else (2, 4))
        for name in ("first", "second", "last")
        for is_input in (False, True)
    ]
    assert [d.name for d in of(Small(), QuantSpec("mixed", 8), ("first",))] == ["second", "last"]
    only = of(Small(), QuantSpec(4, "mixed"))
    assert [(d.name, d.is_input, d.layer) for d in only] == [("relu", True, "second")]


def test_features_are_scaled_shapes() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten()
    )
    network.append(nn.Linear(16, 5))
    spec = QuantSpec("mixed", 32)
    prices = prices_of(network, spec, IMAGE)
    found = features(network, prices, decisions(prices, spec, ()))
    # depthwise, in, out, stride, kernel, weights, pixels, place
    raw = torch.tensor(
        [
            [0.0, 3, 4, 2, 3, 108, 64, 0],
            [1.0, 4, 4, 1, 3, 36, 16, 1],
            [0.0, 16, 5, 0, 1, 80, 1, 2],
        ]
    )
    low, high = raw.amin(0), raw.amax(0)
    assert torch.allclose(found, (raw - low) / (high - low))
