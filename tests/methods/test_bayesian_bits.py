"""Bayesian Bits: what its steps do, its phases, what it refuses."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.bayesian_bits import BayesianBits, Gating
from methods.registry import make_method
from methods.training.loop import Training
from methods.training.surroundings import held
from models.errors import BenchError
from models.qat.gated_network import gated_quantizers
from models.qat.network import layers_in_use
from models.quantize.counting import mean_of
from models.quantize.spec import QuantSpec

CELL = QuantSpec("mixed", "mixed")
SCHEDULE = replace(BayesianBits().schedule, epochs=2, batch_size=8, augment="none", lr=1e-2)
# Gates that soon decide, of three widths.
QUICK = BayesianBits(
    bits=(8, 4, 2), gates=(6.0, 6.0), gate_rate=2.0, schedule=SCHEDULE, finetuning_epochs=1
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()


def images(count: int = 32) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, 9, 9), generator=torch.Generator().manual_seed(1)
    ).byte()


def normalise(pixels: Tensor) -> Tensor:
    return pixels.float() / 64 - 2


def train(method: BayesianBits, **changes: Any) -> tuple[nn.Module, list[dict[str, Any]]]:
    generator, start = torch.Generator().manual_seed(3), network()
    made = method.trainable(start, CELL, normalise(images(16)), generator)
    history = Training(
        network=made,
        strategy=method.strategy(made, CELL, start),
        images=held(images()),
        targets=torch.arange(32) % 4,
        normalise=normalise,
        schedules=method.schedules,
        generator=generator,
        **changes,
    ).run()
    return made, history


def used(method: BayesianBits, state: Mapping[str, Tensor]) -> nn.Module:
    return method.used_at(
        network(), state, CELL, normalise(images(16)), lambda count: images(count)
    )


def test_a_high_mu_leaves_2_bits_and_a_mu_of_0_what_there_was() -> None:
    dear, history = train(replace(QUICK, mu=10.0, pruning=False))
    cheap, _ = train(replace(QUICK, mu=0.0, pruning=False))
    of_dear, of_cheap = (
        layers_in_use(used(replace(QUICK, pruning=False), n.state_dict())) for n in (dear, cheap)
    )
    assert [mean_of(each.bits) for each in of_dear] == [2, 2, 2]
    assert [each.input_bits for each in of_dear] == [32, 2, 2]  # images are left as they come
    assert [mean_of(each.bits) for each in of_cheap] == [8, 8, 8]
    assert [record["phase"] for record in history] == [1, 1, 2]
    gates = history[0]["curves"]["gates of weights/8 bits"]
    assert len(gates) == 4 and gates == sorted(gates, reverse=True) and gates[0] > 0.99
    assert history[1]["gates"]["3"]["weight"]["4"] < 0.1
    assert "curves" not in history[2]


def test_fixed_gates_stay_as_they_are() -> None:
    """The weights go on learning, the gates do not, and no draw decides."""
    made = QUICK.trainable(network(), CELL, normalise(images(16)), torch.Generator())
    strategy = QUICK.strategy(made, CELL, network())
    assert isinstance(strategy, Gating)
    strategy.begin(1)
    assert not any(phi.requires_grad for phi in strategy.phis)
    assert all(each.quantizer.draws is None for each in gated_quantizers(made))
    assert made[0].weight.requires_grad and gated_quantizers(made)[0].quantizer.xmax.requires_grad


def test_the_second_phase_is_optional_and_has_a_rate_of_its_own() -> None:
    first, second = QUICK.schedules
    assert first == SCHEDULE
    assert (second.epochs, second.lr, second.warmup, second.decay) == (1, 3e-4, 0.0, "cosine")
    assert replace(QUICK, finetuning_epochs=0).schedules == (SCHEDULE,)


def test_gates_that_all_shut_end_the_training_with_the_layers_named() -> None:
    with pytest.raises(BenchError, match=r"all output channels of '0', '3' are shut.*method\.mu"):
        train(replace(QUICK, mu=1e3))
    alone = replace(QUICK, mu=1e3, finetuning_epochs=0)
    made, _ = train(alone)
    with pytest.raises(BenchError, match="all output channels of '0', '3' are shut"):
        used(alone, made.state_dict())


def test_a_layer_without_channels_is_told() -> None:
    start = QUICK.trainable(network(), CELL, normalise(images(16)), torch.Generator())
    made = used(QUICK, start.state_dict())
    assert QUICK.warnings(made, CELL, []) == []
    for each in gated_quantizers(made):
        if each.quantizer.phi_channels is not None:
            each.quantizer.phi_channels.data.fill_(-6.0)
    (line,) = QUICK.warnings(made, CELL, [])
    assert line == "all output channels of 2 layers are pruned: '0', '3'"


def test_a_collapsed_range_ends_the_training() -> None:
    lost = replace(
        QUICK, schedule=replace(SCHEDULE, lr=1e3, optimizer="sgd", momentum=0.0, nesterov=False)
    )
    with pytest.raises(BenchError, match=r"has collapsed to|training diverged"):
        train(lost)


def test_variants_start_otherwise() -> None:
    """The release from two images and the largest value, the paper from all and the magnitude."""
    ranges = {}
    for variant in ("paper", "release"):
        method = replace(QUICK, variant=variant)
        made = method.trainable(network(), CELL, normalise(images(16)), torch.Generator())
        ranges[variant] = {
            (each.layer, each.part): float(each.quantizer.xmax) for each in gated_quantizers(made)
        }
        assert all(q.quantizer.release is (variant == "release") for q in gated_quantizers(made))
    weight = network()[3].weight
    assert ranges["paper"]["3", "weight"] == pytest.approx(float(weight.abs().max()))
    assert ranges["release"]["3", "weight"] == pytest.approx(float(weight.max()))
    assert ranges["release"]["3", "input"] < ranges["paper"]["3", "input"]


def test_training_goes_on_where_it_was_left() -> None:
    """Gates, their optimiser and their curves are part of the state."""

    class Kept:
        place = "a list"

        def __init__(self, states: Sequence[dict[str, Any]] = ()) -> None:
            self.states = list(states)

        def load(self) -> dict[str, Any] | None:
            return self.states[-1] if self.states else None

        def save(self, state: dict[str, Any]) -> None:
            self.states.append(copy.deepcopy(state))

    kept, method = Kept(), replace(QUICK, mu=0.1, gate_rate=1.0)
    whole, history = train(method, checkpoints=kept)
    for number in range(1, len(kept.states)):
        resumed, told = train(method, checkpoints=Kept([kept.states[number]]))
        assert told == history
        for key, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), (number, key)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (QuantSpec(4, 4), "W4A4 is asked for; give quant=mixed_all"),
        (QuantSpec("mixed", 8, mean_bits=3), "WmixedA8 is asked for; give quant=mixed"),
        (QuantSpec("mixed", "mixed", mean_bits=3), "has no budget, and quant.mean_bits is given"),
        (QuantSpec("mixed", "mixed", fold=True), "recipe= and quant.* but the bits have no effect"),
    ],
)
def test_what_it_has_no_cell_for(spec: QuantSpec, message: str) -> None:
    BayesianBits().check(CELL)
    with pytest.raises(BenchError) as caught:
        BayesianBits().check(spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": -1.0}, "mu=-1.0; give 0 or more"),
        ({"gate_rate": 0.0}, "gate_rate=0.0; give a number above 0"),
        ({"finetuning_epochs": -1}, "finetuning_epochs=-1; give 0 or more"),
        ({"bits": [8, 2]}, r"bits=[8, 2]; residuals double their width from 2"),
        (
            {"gates": [6.0]},
            "gates=[6.0]; give 4 numbers, one for each of the widths [4, 8, 16, 32]",
        ),
        ({"qat": {"weight_quantizer": "lsq"}}, "qat.weight_quantizer='lsq'; with anything but"),
    ],
)
def test_bad_parameters_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError) as caught:
        make_method({"name": "bayesian_bits", **changes})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_other_methods_have_no_gates() -> None:
    with pytest.raises(BenchError, match=r"weight_quantizer=gated .* method bayesian_bits alone"):
        make_method({"name": "individual", "qat": {"weight_quantizer": "gated"}})
