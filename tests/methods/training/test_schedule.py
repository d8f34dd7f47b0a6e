"""Learning rates, ranges, which parameters decay."""

import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from methods.training.schedule import Schedule, learning_rate, optimiser
from models.errors import BenchError
from models.qat.conversion import make_quantizable
from models.qat.network import quantizer_parameters
from models.qat.spec import QatSpec


def test_config_equals_the_defaults() -> None:
    path = Path(__file__).parents[3] / "conf" / "train" / "default.yaml"
    wanted = asdict(Schedule()) | {"milestones": [0.5, 0.75]}
    assert OmegaConf.to_container(OmegaConf.load(path)) == wanted


def test_learning_rate_is_one_cycle() -> None:
    schedule = Schedule(lr=0.2, warmup=0.25)
    rates = [learning_rate(schedule, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(0.2, rel=1e-4)
    assert abs(rates.index(max(rates)) - 250) <= 1
    assert 0 < rates[0] < 1e-5
    assert 0 < rates[-1] < 1e-5
    assert rates[125] == pytest.approx(0.1, rel=0.02)
    flat = Schedule(warmup=0)
    assert learning_rate(flat, 0, 10) == pytest.approx(0.2 * 0.5 * (1 + math.cos(0.05 * math.pi)))


def test_learning_rate_in_steps() -> None:
    schedule = Schedule(lr=0.1, decay="step", warmup=0, milestones=(0.5, 0.75), gamma=0.1)
    rates = [learning_rate(schedule, step, 8) for step in range(8)]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)
    warmed = Schedule(lr=0.1, decay="step", warmup=0.25, milestones=(0.5,))
    assert learning_rate(warmed, 0, 8) == pytest.approx(0.1 * 0.5 * (1 - math.cos(math.pi / 4)))
    assert learning_rate(warmed, 2, 8) == 0.1


def test_only_weights_decay(tiny_network: nn.Module) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spec = QatSpec(granularity="channel")  # its learned steps have four dimensions
    made = make_quantizable(tiny_network, (4, 2), spec, images)
    decayed, others = optimiser(made, Schedule(weight_decay=0.1)).param_groups
    weights = [made.get_parameter(f"convs.{i}.weight") for i in range(3)]
    assert decayed["weight_decay"] == 0.1
    assert others["weight_decay"] == 0
    assert set(decayed["params"]) == {*weights, made.get_parameter("head.weight")}
    assert set(quantizer_parameters(made)) < set(others["params"])
    adam = optimiser(made, Schedule(optimizer="adam", weight_decay=0.1))
    assert isinstance(adam, torch.optim.Adam)
    assert [group["weight_decay"] for group in adam.param_groups] == [0.1, 0]


def test_what_quantizers_learn_may_have_a_rate_of_its_own(tiny_network: nn.Module) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made = make_quantizable(tiny_network, (4, 2), QatSpec(), images)
    decayed, others, learned = optimiser(made, Schedule(quantizer_rate=10.0)).param_groups
    assert [group.get("factor") for group in (decayed, others, learned)] == [None, None, 10.0]
    assert {*learned["params"]} == {*quantizer_parameters(made)}
    assert not {*others["params"]} & {*learned["params"]}


def test_depthwise_weights_may_be_spared() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1), nn.Conv2d(1, 4, 1))
    weights = [network[i].weight for i in range(3)]
    spared = Schedule(depthwise_decay=False)
    for schedule, wanted in ((Schedule(), weights), (spared, weights[1:])):
        decayed, _ = optimiser(network, schedule).param_groups
        assert {*decayed["params"]} == {*wanted}


def test_rmsprop_takes_the_steps_of_optax() -> None:
    """optax 0.2.8, rmsprop(rates, decay=0.9, momentum=0.9, eps=1e-3), in float32."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))
    network = nn.Module()
    network.weight = weight
    schedule = Schedule(optimizer="rmsprop", lr=0.1, weight_decay=0.0)
    made = optimiser(network, schedule)
    steps = [
        (0.1, [0.3, -1.0, 0.0], [0.699999988, -1.68534160, 0.5]),
        (0.05, [0.1, 2.0, -0.01], [0.380248129, -1.54486072, 0.515732944]),
        (0.02, [-0.5, 0.0, 0.02], [0.146553159, -1.41842794, 0.517542422]),
    ]
    for rate, gradient, wanted in steps:
        for group in made.param_groups:
            group["lr"] = rate
        weight.grad = torch.tensor([gradient])
        made.step()
        assert weight.detach().flatten().tolist() == pytest.approx(wanted, rel=1e-6)
    # Decay is part of the gradient, as in a loss with half of it times the square.
    other = nn.Parameter(torch.tensor([[2.0]]))
    network.weight = other
    decayed = optimiser(network, Schedule(optimizer="rmsprop", lr=0.1, weight_decay=0.5))
    other.grad = torch.zeros(1, 1)
    decayed.step()
    assert other.item() == pytest.approx(2 - 0.1 * 1 / math.sqrt(0.1 + 1e-3))


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("epochs", 0, "1 or more"),
        ("batch_size", 1, "2 or more"),
        ("lr", math.nan, "a number above 0"),
        ("momentum", 0.0, "0 or more and below 1, with nesterov above 0"),
        ("weight_decay", -0.1, "0 or more"),
        ("warmup", 1.0, "0 or more and below 1"),
        ("ema", 1.0, "0 or more and below 1"),
        ("gamma", 0.0, "a number above 0 and up to 1"),
        ("max_rotation", 181.0, "0 to 180"),
        ("milestones", (0.5, 0.5), "increasing numbers above 0 and below 1"),
        ("milestones", (1.0,), "increasing numbers above 0 and below 1"),
    ],
)
def test_schedule_out_of_range(field: str, value: float, wanted: str) -> None:
    said = f"training schedule: {field}={value!r} is out of range; give {wanted}"
    with pytest.raises(BenchError, match=f"^{re.escape(said)}$"):
        Schedule(**{field: value})  # type: ignore[arg-type]
