"""What a block is shown, and what is learned from it."""

from collections.abc import Sequence
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.identity import identity
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding import block as loop
from models.quantize.rounding.block import Course, Examples, Task, learn
from models.quantize.rounding.blocks import Block
from models.quantize.rounding.importance import importance
from models.quantize.rounding.reconstruction import reconstruction
from models.quantize.rounding.soft import SoftWeights
from models.quantize.rounding.steps import LearnedSteps
from models.quantize.spec import QuantSpec
from tests.models.quantize.rounding.networks import IMAGES, chain, residual

ROUNDINGS = ("brecq", "qdrop")


def spec(rounding: str, w_bits: int = 3, a_bits: int = 32, **changes: object) -> QuantSpec:
    values = {
        "rounding_iterations": 60,
        "rounding_rate": 0.05,
        "rounding_batch": 8,
        "rounding_step_iterations": 30,
        "rounding_step_rate": 0.01,
    }
    return QuantSpec(w_bits, a_bits, rounding=rounding, **values | changes)  # type: ignore[arg-type]


def made(rounding: str, *bits: int, seed: int = 0, **changes: object) -> QuantizedNetwork:
    generator = torch.Generator().manual_seed(seed)
    return quantize(residual(), spec(rounding, *bits, **changes), IMAGES, generator=generator)


def error(quantized: QuantizedNetwork) -> float:
    with torch.no_grad():
        return float((quantized.network(IMAGES) - residual()(IMAGES)).square().sum())


def task(examples: Examples, layer: nn.Module, form: WeightFormat) -> Task:
    weights = {"0": layer.get_parameter("weight")}
    generator = torch.Generator().manual_seed(0)
    names = {"0": form}
    return Task("0", layer, examples, weights, names, {}, generator, generator, lambda: None)


def test_a_single_layer_on_all_images_has_the_objective_of_adaround(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).requires_grad_(False)
    inputs, float_inputs = torch.randn(2, 5, 4, 7, 7)
    form = WeightFormat(2, "affine", "channel")
    weight, target = layer.weight.clone(), layer(float_inputs)
    problem = reconstruction(layer, inputs, target)
    changes, found = [], []

    def note(soft: SoftWeights, gradients: Sequence[Tensor], *_: object) -> None:
        changes.append(layer.weight.detach() - weight)
        found.append(gradients[0])

    monkeypatch.setattr(SoftWeights, "descend", note)
    given = task(Examples(inputs, float_inputs, target), layer, form)
    soft = SoftWeights(given.weights, given.formats, 0.1)
    soft._logits.add_(torch.randn(soft._logits.shape))
    learn(given, Course(1, 32), soft, LearnedSteps({}, 0.1))
    assert float(changes[0].abs().max()) > 0.05
    assert torch.allclose(found[0], problem.gradient(changes[0]), atol=1e-5)


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_which_inputs_a_step_sees(drop: float) -> None:
    quantized, floats, target = torch.zeros(6, 400), torch.ones(6, 400), torch.arange(6.0)[:, None]
    given = task(Examples(quantized, floats, target, target + 1), nn.Linear(400, 1), None)  # type: ignore[arg-type]
    x, y, weight = loop._draw(given, Course(1, 4, drop=drop))
    assert weight is not None and torch.equal(weight, y + 1)
    assert x.shape == (4, 400) and len(set(y.flatten().tolist())) == 4
    assert float(x.mean()) == pytest.approx(drop, abs=0.05)
    assert set(x.flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("a_bits", [32, 3])
def test_the_output_is_nearer_than_with_nearest_rounding(rounding: str, a_bits: int) -> None:
    nearest = error(quantize(residual(), QuantSpec(3, a_bits), IMAGES))
    assert error(made(rounding, 3, a_bits)) < 0.7 * nearest


@pytest.mark.thorough
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_seed_says_all(rounding: str) -> None:
    first, again, other = (made(rounding, 3, 3, seed=seed) for seed in (0, 0, 1))
    states = [each.network.state_dict() for each in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])
    assert first.warnings == ()


@pytest.mark.thorough
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("sites", ["relu", "all"])
def test_weights_and_activations_end_on_their_grids(rounding: str, sites: str) -> None:
    found = made(rounding, 3, 3, sites=sites, fold=True, last_bits=8, w_range="mse")
    for name, bits in (found.weight_bits or {}).items():
        for row in found.network.get_submodule(name).get_parameter("weight").flatten(1):
            assert len(row.unique()) <= 2**bits
    plain = quantize(residual(), QuantSpec(3, 3, sites=sites, fold=True, last_bits=8), IMAGES)
    grids = {name: q.grid for name, q in found.quantizers.items()}
    assert grids.keys() == plain.quantizers.keys()
    for name, q in found.quantizers.items():
        assert q.bits == plain.quantizers[name].bits
        x = q(torch.linspace(-3, 3, 1001))
        assert len(x.unique()) <= 2**q.bits
        assert x.abs().min() < 1e-6  # zero is on the grid
    before = {name: q.grid.inverse_scale for name, q in plain.quantizers.items()}
    assert all(not torch.equal(grids[name].inverse_scale, before[name]) for name in grids)


def test_steps_see_inputs_of_either_network() -> None:
    floats, quantized = (
        made("brecq", 3, 3, rounding_step_inputs=of) for of in ("float", "quantized")
    )
    weights = [dict(each.network.named_parameters()) for each in (floats, quantized)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    names = list(floats.quantizers)
    ends = [[float(each.quantizers[name].high) for name in names] for each in (floats, quantized)]
    assert ends[0][0] == ends[1][0]  # nothing is quantized before the first
    assert all(a != b for a, b in zip(ends[0][1:], ends[1][1:], strict=True))


def test_float_weights_leave_steps_as_they_were_calibrated() -> None:
    found, plain = (made(rounding, 32, 3) for rounding in ("brecq", "nearest"))
    assert error(found) == error(plain)
    assert identity(spec("brecq", 32, 3)) == identity(QuantSpec(32, 3))


def test_progress_ends_at_the_number_of_steps() -> None:
    seen: list[tuple[int, int]] = []
    quantize(residual(), spec("brecq", 3, 3), IMAGES, lambda *at: seen.append(at))
    assert (5 * 60, 5 * 60) in seen
    assert seen[-1][1] == 5 * 30  # one block, the head, has no activation to learn


def test_what_a_reader_must_know() -> None:
    found = quantize(chain(), spec("brecq", rounding_batch=32), IMAGES)
    assert found.warnings == (
        "quant.rounding=brecq: the network has no block of several layers, so that each layer was "
        "learned by itself",
        "quant.rounding=brecq: each step saw all 24 calibration images, because there are fewer "
        "than quant.rounding_batch=32",
    )


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_what_cannot_be_learned(rounding: str) -> None:
    with pytest.raises(NotApplicable, match=r"give quant\.a_granularity=tensor$"):
        made(rounding, 3, 3, a_granularity="channel")
    with pytest.raises(BenchError, match=r"loss of the block '0\.0' is not finite while"):
        made(rounding, 3, 32, rounding_rate=1e38)


def test_importance_of_logits_is_the_gradient_of_the_likelihood() -> None:
    network, head = residual(), Block(("5",), ("5",))
    images = IMAGES * 3
    generator = torch.Generator().manual_seed(2)
    assert importance(network, network, head, images, "mse", generator) is None
    found = importance(network, network, head, images, "fisher", generator)
    probabilities = network(images).softmax(1)
    label = torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(2))
    squares = (probabilities.scatter_add(1, label, -torch.ones(24, 1))).square()
    assert found is not None
    assert torch.allclose(found, squares / squares.mean(), rtol=1e-3, atol=1e-5)
    assert not any(p.requires_grad for p in network.parameters())
    # Nothing is quantized yet, so that nothing is to be told apart.
    found = importance(network, network, head, images, "fisher_release", generator)
    assert found is not None and torch.allclose(found, torch.ones(24, 5), atol=1e-5)
    other = residual()
    other[5].weight.mul_(2)
    found = importance(other, network, head, images, "fisher_release", generator)
    gradient = (other(images).softmax(1) - probabilities) / 24
    assert found is not None and torch.allclose(found, (1 + gradient.abs()).square(), rtol=1e-4)


def test_errors_are_weighted() -> None:
    plain, weighted = (made("brecq", 2, 32, rounding_loss=each) for each in ("mse", "fisher"))
    assert not torch.equal(plain.network(IMAGES), weighted.network(IMAGES))
    assert error(weighted) < error(quantize(residual(), QuantSpec(2, 32), IMAGES))


def test_parameters_belong_to_the_id_where_they_matter() -> None:
    heeded = {field.name for field in fields(QuantSpec) if field.name.startswith("rounding_")}
    joint = {"iterations", "rate", "batch", "penalty"}
    matter = {
        ("brecq", 32): joint | {"loss"},
        ("brecq", 4): joint | {"loss", "step_iterations", "step_rate", "step_inputs"},
        ("qdrop", 32): joint | {"drop"},
        ("qdrop", 4): joint | {"drop", "step_rate"},
        ("adaround", 4): {"iterations", "rate"},
    }
    others: dict[str, object] = {"rounding_variant": "sequential", "rounding_loss": "fisher"}
    others |= {"rounding_objective": "table", "rounding_shared": True}
    others |= {"rounding_ratio": 0.5, "rounding_centroids": 8, "rounding_block": (2, 4, 4)}
    others |= {"rounding_step_inputs": "quantized", "rounding_drop": 0.25, "rounding_rate": 0.5}
    for (rounding, a_bits), names in matter.items():
        base = identity(QuantSpec(4, a_bits, rounding=rounding))
        for name in heeded:
            changed = QuantSpec(4, a_bits, rounding=rounding, **{name: others.get(name, 7)})  # type: ignore[arg-type]
            assert (identity(changed) != base) == (name.removeprefix("rounding_") in names), name
