"""Weights that are learned once."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.quantize.rounding.base import Rounded
from models.quantize.rounding.brecq import Brecq
from models.quantize.rounding.once import Learned, is_learned, learned_by, learned_once
from models.quantize.rounding.registry import make_rounding
from models.quantize.spec import QuantSpec


class Keeper:
    """Keeps the first that is learned, in memory."""

    def __init__(self) -> None:
        self.kept: Learned | None = None

    def __call__(self, make: Callable[[], Learned]) -> Learned:
        if self.kept is None:
            made = make()
            tensors = {name: value.clone() for name, value in made.tensors.items()}
            self.kept = Learned(tensors, made.layers)
        return self.kept


def test_what_learning_leaves_is_left_again() -> None:
    """Weights, ranges, and where the random generator stands."""
    keeper = Keeper()
    seen: list[tuple[float, float, float]] = []
    for number in (1.0, 2.0):
        network = nn.Sequential(nn.Linear(2, 1, bias=False))
        quantizer = nn.BatchNorm1d(1)
        generator = torch.Generator().manual_seed(0)

        def learn() -> dict[str, Rounded]:
            torch.rand((), generator=generator)  # noqa: B023 called at once
            network[0].weight.data.fill_(number)  # noqa: B023
            quantizer.running_mean.fill_(-number)  # type: ignore[union-attr] # noqa: B023
            return {"0": Rounded(network[0].weight.data, 7, "a warning")}  # noqa: B023

        with learned_by(keeper):
            found = learned_once(learn, network, {"at": quantizer}, (generator,))
        assert found["0"].size_bits == 7
        assert found["0"].warning == "a warning"
        assert torch.equal(found["0"].weight, network[0].weight)
        drawn = float(torch.rand((), generator=generator))
        seen.append(
            (float(network[0].weight.detach()[0, 0]), float(quantizer.running_mean[0]), drawn)
        )  # type: ignore[index]
    second = torch.rand(2, generator=torch.Generator().manual_seed(0))[1]
    assert seen == [(1.0, -1.0, float(second))] * 2


def test_without_a_keeper_each_learns() -> None:
    calls: list[int] = []
    for _ in range(2):
        assert learned_once(lambda: calls.append(1) or {}, nn.ReLU(), {}, ()) == {}
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("rounding", "changes", "learned"),
    [
        ("nearest", {}, False),
        ("stochastic", {}, False),
        ("bit_split", {}, False),
        ("bit_split", {"rounding_variant": "sequential"}, True),
        ("product", {"rounding_layer_steps": 5}, True),
        ("adaround", {}, True),
        ("qdrop", {}, True),
    ],
)
def test_which_are_worth_it(rounding: str, changes: dict[str, object], learned: bool) -> None:
    spec = QuantSpec(4, 4, rounding=rounding, **changes)  # type: ignore[arg-type]
    assert is_learned(make_rounding(rounding, spec.as_dict())) is learned
    assert is_learned(Brecq())
