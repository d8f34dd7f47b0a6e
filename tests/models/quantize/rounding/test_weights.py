"""Layer by layer through a network."""

import copy
from dataclasses import dataclass, fields
from typing import ClassVar

import pytest
import torch
from torch import nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import weighted_layers
from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding import weights
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.rounding.bit_split import BitSplit
from models.quantize.rounding.registry import ROUNDINGS, parameters, rounding_class, version
from models.quantize.rounding.weights import round_weights
from models.quantize.spec import QuantSpec

FORMAT = WeightFormat(3, "symmetric", "channel")


@dataclass(frozen=True)
class Halving(Rounding):
    """Half of each weight, and what was seen on the way."""

    name = "halving"
    seen: ClassVar[list[Layer]] = []

    whose: Inputs = "none"

    @property
    def inputs(self) -> Inputs:
        return self.whose

    def quantize(self, layer: Layer) -> Rounded:
        self.seen.append(layer)
        return Rounded(layer.weight / 2, layer.weight.numel() * 5, "halved")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 3)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("held", [2**28, 1])  # all Gram matrices at a time, or one
@pytest.mark.parametrize("whose", ["none", "float", "quantized"])
def test_what_a_rounding_is_shown(
    whose: Inputs, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_HELD", held)
    Halving.seen.clear()
    before, net = network(), network()
    formats = dict.fromkeys(("0", "2", "4"), FORMAT)
    steps: list[tuple[int, int]] = []
    round_weights(
        net, formats, Halving(whose), IMAGES, torch.Generator(), lambda *at: steps.append(at)
    )
    for name, layer in zip(formats, Halving.seen, strict=True):
        weight = before.get_submodule(name).get_parameter("weight")
        assert torch.equal(layer.weight, weight)
        assert torch.equal(net.get_submodule(name).get_parameter("weight"), weight / 2)
    assert steps == ([] if whose == "none" else [(1, 3), (2, 3), (3, 3)])
    if whose == "none":
        assert all(layer.problem is None for layer in Halving.seen)
        return
    problem = Halving.seen[1].problem
    assert problem is not None
    source = before if whose == "float" else net
    x = source[:2](IMAGES).movedim(1, 0).flatten(1)  # what enters the 1 x 1 convolution
    error = before[2].weight.flatten(1) @ (x - before[:2](IMAGES).movedim(1, 0).flatten(1))
    assert torch.allclose(problem.gram[0], x @ x.T / x.shape[1], rtol=1e-4, atol=1e-6)
    assert torch.allclose(problem.cross[0], error @ x.T / x.shape[1], rtol=1e-3, atol=1e-5)


def test_what_storing_takes_and_what_must_be_known() -> None:
    net = network()
    made = quantize(net, QuantSpec(3, 32, rounding=f"{__name__}:Halving"), IMAGES)
    # Two bits more than the three of the format for each weight.
    assert made.more_bits == 2 * (4 * 3 * 9 + 5 * 4 + 2 * 5 * 9)
    assert made.warnings == ("0: halved", "2: halved", "4: halved")
    plain = quantize(net, QuantSpec(3, 32), IMAGES)
    assert (plain.weight_bits, plain.more_bits, plain.warnings) == (dict.fromkeys("024", 3), 0, ())


@pytest.mark.parametrize("variant", ["release", "sequential"])
def test_bit_split_brings_the_output_nearer_than_rounding(variant: str) -> None:
    net = network()
    wanted = net(IMAGES)
    errors = {}
    for rounding in ("nearest", "bit_split"):
        spec = QuantSpec(3, 32, w_scheme="symmetric", rounding=rounding, rounding_variant=variant)
        errors[rounding] = (quantize(net, spec, IMAGES).network(IMAGES) - wanted).square().sum()
    assert errors["bit_split"] < 0.8 * errors["nearest"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "symmetric and per channel; set quant.w_scheme=symmetric$"),
        ({"w_scheme": "symmetric", "w_granularity": "tensor"}, "set quant.w_granularity=channel$"),
        ({"w_scheme": "symmetric", "w_range": "mse"}, "set quant.w_range=minmax$"),
        ({"w_scheme": "symmetric", "w_bits": 2}, "bit_split cannot do 2 bits: .* give 3 or more$"),
        ({"w_scheme": "symmetric", "last_bits": 2}, "cannot do 2 bits"),
    ],
)
def test_what_bit_split_cannot_do(changes: dict[str, object], message: str) -> None:
    spec = QuantSpec(**{"w_bits": 4, "a_bits": 32, "rounding": "bit_split"} | changes)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match=message):
        quantize(network(), spec, IMAGES)


def test_a_refused_format_changes_no_weight() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    formats = {"0": FORMAT, "2": FORMAT._replace(bits=2)}
    with pytest.raises(NotApplicable):
        round_weights(net, formats, BitSplit(), IMAGES, torch.Generator(), lambda *at: None)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_names_and_parameters() -> None:
    with pytest.raises(BenchError, match=r"unknown rounding 'adarond'; did you mean 'adaround'\?"):
        QuantSpec(4, 4, rounding="adarond")
    with pytest.raises(BenchError, match=r"not a subclass of .*rounding\.base\.Rounding"):
        QuantSpec(4, 4, rounding="torch.nn:Linear")
    plain = {"w_bits": 4, "a_bits": 4}
    changed = {"rounding_iterations": 5, "rounding_epochs": 3}
    spec = QuantSpec(4, 4, rounding="bit_split", **changed)
    wanted = {"rounding": "bit_split", "rounding_epochs": 3, "rounding_version": 2}
    assert identity(spec) == plain | wanted
    spec = QuantSpec(4, 4, rounding="stochastic", **changed)
    assert identity(spec) == plain | {"rounding": "stochastic"}


@pytest.mark.parametrize("name", ROUNDINGS.builtin)
def test_what_the_registry_says_without_importing_is_what_the_class_says(name: str) -> None:
    cls = rounding_class(name)
    assert cls.name == name
    assert parameters(name) == {f"rounding_{field.name}" for field in fields(cls)}
    assert (version(name) or 1) == cls.version


# Those of tables alone see no convolution, and a matrix lies in memory in one way.
@pytest.mark.parametrize("name", [n for n in ROUNDINGS.builtin if not n.startswith("dpq_")])
def test_how_weights_lie_in_memory_changes_nothing(name: str) -> None:
    made = []
    granularity = "tensor" if name in ("ocs", "outlier") else "channel"
    scheme = "affine" if name == "aciq" else "symmetric"
    few = {"rounding_iterations": 3, "rounding_step_iterations": 2, "rounding_batch": 4}
    spec = QuantSpec(
        4, 8, rounding=name, w_scheme=scheme, w_granularity=granularity, rounding_ratio=0.2, **few
    )
    for memory_format in (torch.contiguous_format, torch.channels_last):
        net = network().to(memory_format=memory_format)
        images = IMAGES.to(memory_format=memory_format)
        made.append(quantize(net, spec, images, generator=torch.Generator().manual_seed(0)))
    first, second = ([layer.weight for layer in weighted_layers(m.network).values()] for m in made)
    for one, other in zip(first, second, strict=True):
        assert torch.allclose(one, other, atol=1e-4), name
    assert made[0].more_bits == made[1].more_bits
