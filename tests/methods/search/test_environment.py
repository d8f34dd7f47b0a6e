"""A network that takes any bits: what it computes, what it keeps, what a fine-tuning leaves."""

from unittest.mock import patch

import pytest
import torch

from methods.search.environment import Environment, KeptWeights
from methods.search.finetune import FineTuning
from models.errors import BenchError
from models.quantize.activation import weighted_layers
from models.quantize.bits import ChosenBits
from models.quantize.network import quantize
from models.quantize.rounding.plain import Nearest
from models.quantize.spec import QuantSpec
from tests.methods.search.problems import Small, problem

SPEC = QuantSpec("mixed", "mixed", mean_bits=3, w_candidates=(2, 3, 8), a_candidates=(2, 8))
LAYERS = ("first", "second", "last")


def bits(*weights: object, inputs: tuple[int, ...] = ()) -> ChosenBits:
    named = dict(zip(("relu",), inputs, strict=False))
    return ChosenBits(dict(zip(LAYERS, weights, strict=True)), named)  # type: ignore[arg-type]


def environment(spec: QuantSpec = SPEC) -> tuple[Environment, torch.nn.Module]:
    network = Small()
    of = problem(network, spec)
    return Environment(network, spec, of.images, of.held_out), network


def test_it_is_the_quantized_network() -> None:
    """With float activations nothing depends on the order in which ranges are found."""
    spec = QuantSpec("mixed", 32, mean_bits=3)
    found, network = environment(spec)
    of = problem(network, spec)
    assert found.float_top1 == 100
    for choice in (bits(2, 2, 2), bits(8, 2, 4), bits((2, 4) * 4, 8, 2), bits(32, 32, 32)):
        made = quantize(network, spec, of.images, chosen=choice).network
        right = (made(of.held_out.images).argmax(1) == of.held_out.labels).double().mean()
        assert found.top1(choice) == pytest.approx(100 * float(right))
    for name, layer in weighted_layers(network).items():
        assert torch.equal(layer.weight, weighted_layers(Small())[name].weight)


def test_a_weight_is_quantized_once_for_each_bit_width() -> None:
    made: list[int] = []
    real = Nearest.quantize

    def counting(self, layer):  # type: ignore[no-untyped-def]
        made.append(layer.format.bits)
        return real(self, layer)

    found, _ = environment()
    with patch.object(Nearest, "quantize", counting):
        for choice in (bits(2, 3, 8), bits(8, 3, 2), bits((2, 8) * 4, 3, 8), bits(2, 3, 8)):
            found.top1(choice)
    assert sorted(made) == [2, 2, 3, 8, 8]  # of the first two, one, and two layers


def test_activations_take_any_of_their_candidates() -> None:
    found, _ = environment()
    low = found.top1(bits(8, 8, 8, inputs=(2,)))
    high = found.top1(bits(8, 8, 8, inputs=(8,)))
    assert low < high
    assert found.top1(bits(8, 8, 8, inputs=(2,))) == low


def test_a_fine_tuning_helps_and_is_forgotten() -> None:
    found, network = environment()
    of = problem(network, SPEC)
    choice = bits(2, 2, 3, inputs=(8,))
    before = found.top1(choice)
    how = FineTuning(steps=30, rate=0.02, batch=32)
    tuned = found.tuned_top1(choice, of.tuning, how, torch.Generator().manual_seed(0))
    assert tuned.held_out > before + 5
    assert 0 < tuned.best_batch <= 100
    assert found.top1(choice) == before


@pytest.mark.parametrize("rounding", ["nearest", "kmeans"])
def test_fine_tuned_weights_stay_on_as_many_values(rounding: str) -> None:
    spec = QuantSpec("mixed", 32, mean_bits=3, rounding=rounding)
    found, network = environment(spec)
    of = problem(network, spec)
    choice = bits(2, 3, 2)
    made = quantize(network, spec, of.images, chosen=choice).network
    start = {name: layer.weight.clone() for name, layer in weighted_layers(made).items()}
    how = FineTuning(steps=3, rate=0.05, batch=16)
    found.tune(made, choice, of.tuning, how, torch.Generator().manual_seed(0))
    for name, layer in weighted_layers(made).items():
        assert not torch.equal(layer.weight, start[name])
        rows = layer.weight.flatten(1) if rounding == "nearest" else layer.weight.reshape(1, -1)
        assert max(len(row.unique()) for row in rows) <= 2 ** int(choice.weights[name])  # type: ignore[call-overload]
        assert not layer.weight.requires_grad


def test_a_rounding_that_looks_at_inputs_is_refused() -> None:
    spec = QuantSpec("mixed", 8, mean_bits=3, rounding="adaround")
    with pytest.raises(BenchError, match=r"rounding=adaround looks at the inputs of a layer"):
        KeptWeights(weighted_layers(Small()), spec)
