"""Bits that are trained: what is refused, where they start, and a training taken up anywhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.mixed_step_range import MixedStepRange
from methods.training.loop import Training
from methods.training.schedule import Schedule
from methods.training.surroundings import InMemory, held
from models.errors import BenchError
from models.qat.network import layer_weights, layers_in_use, quantized_layers, weights_size_mb
from models.qat.spec import QatSpec
from models.quantize.counting import mean_of
from models.quantize.spec import QuantSpec

SHORT = Schedule(epochs=1, batch_size=4, optimizer="rmsprop", lr=0.01, augment="none")
METHOD = MixedStepRange(
    schedule=SHORT,
    pretraining_epochs=1,
    finetuning_epochs=1,
    update_period=3,
    penalty=10.0,
    penalty_unit="target",
)
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def quant(w_bits: int | str = "mixed", a_bits: int | str = "mixed", **budget: float) -> QuantSpec:
    limits = budget or {"mean_bits": 3, "mean_activation_bits": 3}
    return QuantSpec(w_bits, a_bits, budget=tuple(limits.items()))  # type: ignore[arg-type]


def made(network: nn.Module, spec: QuantSpec, **options: Any) -> nn.Module:
    return replace(METHOD, **options).trainable(network, spec, IMAGES, torch.Generator())


class Stopped(Exception):
    """What ends a process in the middle of a training."""


class StopBehind:
    """An interrupt that waits once `steps` steps are done."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @property
    def waiting(self) -> bool:
        self.steps -= 1
        return self.steps <= 0

    def deliver(self) -> None:
        if self.steps <= 0:
            raise Stopped


def training(
    network: nn.Module, method: MixedStepRange, checkpoints: InMemory, **options: Any
) -> Training:
    generator = torch.Generator().manual_seed(2)
    trainable = method.trainable(network, quant(), IMAGES, generator)
    pixels = torch.randint(0, 256, (24, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Training(
        network=trainable,
        strategy=method.strategy(trainable, quant(), network),
        images=held(pixels),
        targets=torch.arange(24) % 5,
        normalise=lambda x: x / 128 - 1,
        schedules=method.schedules,
        generator=generator,
        checkpoints=checkpoints,
        **options,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("variant", ["release", "paper"])
def test_it_is_taken_up_in_each_phase(tiny_network: nn.Module, variant: Any) -> None:
    method = replace(METHOD, variant=variant, distillation=1.0)
    whole = training(tiny_network, method, InMemory())
    history = whole.run()
    assert [record["phase"] for record in history] == [1, 2, 3]
    assert all(len(of) == 6 for record in history for of in record["curves"].values())
    wanted = whole.network.state_dict()
    for stop in (2, 8, 11, 12, 14):  # in and between the phases of six steps
        checkpoints = InMemory()
        with pytest.raises(Stopped):
            training(tiny_network, method, checkpoints, interrupts=StopBehind(stop)).run()
        resumed = training(tiny_network, method, checkpoints)
        assert resumed.run() == history
        assert all(torch.equal(resumed.network.state_dict()[k], v) for k, v in wanted.items())


def test_only_the_mixed_phase_changes_bits(tiny_network: nn.Module) -> None:
    whole = training(tiny_network, replace(METHOD, update_period=1), InMemory())
    before, mixed, after = (record["curves"]["weights, MiB"] for record in whole.run())
    assert len({*before}) == 1
    assert len({*mixed}) > 1
    assert len({*after}) == 1
    used = METHOD.used_at(tiny_network, whole.network.state_dict(), quant(), IMAGES, _none)
    assert weights_size_mb(used) == pytest.approx(after[-1])
    assert torch.equal(used(IMAGES), whole.network.eval()(IMAGES))


def _none(count: int) -> Tensor:
    raise AssertionError("no more images are needed")


def test_bits_start_two_above_the_target_and_images_have_eight(tiny_network: nn.Module) -> None:
    network = made(tiny_network, quant(mean_bits=2.5, mean_activation_bits=3.9))
    layers = layers_in_use(network)
    assert {each.bits for each in layers} == {4}
    assert layers[0].input_bits == 8
    assert {each.input_bits for each in layers[1:]} == {4}  # beside images they have 2.9
    assert [weight.bits for weight in layer_weights(network)] == [4] * len(layers)
    assert {each.bits for each in layers_in_use(made(tiny_network, quant(), bits=(6,)))} == {6}
    largest = made(tiny_network, quant(mean_bits=2, largest_activation_mb=7.5 * 256 / 2**23))
    assert {each.input_bits for each in layers_in_use(largest)[1:]} == {9}


def test_each_channel_has_bits_of_its_own(tiny_network: nn.Module) -> None:
    qat = replace(METHOD.qat, granularity="channel")
    network = made(tiny_network, quant(), qat=qat)
    layer = quantized_layers(network)["convs.1"]
    with torch.no_grad():
        layer.weight_quantizer.step["8"][0].mul_(2.5)  # type: ignore[union-attr,index,operator]
    found = next(each for each in layers_in_use(network) if each.layer == "convs.1")
    assert found.bits == [4, *[5] * (len(layer.weight) - 1)]
    assert len(found.ranges) == len(layer.weight)
    assert mean_of(found.bits) == 5 - 1 / len(layer.weight)


def test_one_kind_of_bits_may_be_given(tiny_network: nn.Module) -> None:
    spec = quant("mixed", 6, mean_bits=3)
    METHOD.check(spec)
    assert {each.input_bits for each in layers_in_use(made(tiny_network, spec))[1:]} == {6}
    spec = quant(4, "mixed", mean_activation_bits=3)
    METHOD.check(spec)
    layers = layers_in_use(made(tiny_network, spec))
    assert {each.bits for each in layers} == {4}
    assert {each.input_bits for each in layers[1:]} == {3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (QuantSpec(4, 4), "learns bits; give quant.w_bits=mixed"),
        (quant(mean_bits=3), r"quant\.a_bits=mixed needs a limit, as in .*mean_activation_bits: 3"),
        (quant("mixed", 8, bops=1e6, mean_bits=3), r"quant\.budget\.bops is no size"),
        (quant("mixed", 8, mean_bits=3, activations_mb=1), "no meaning with quant.a_bits=8"),
        (quant(32, "mixed", activations_mb=1), r"not beside quant\.w_bits=32"),
        (replace(quant(), fold=True), "but bits and budget have no effect on method mixed"),
    ],
)
def test_what_cannot_be_asked_for(given: QuantSpec, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        METHOD.check(given)


def lone() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize(
    ("network", "budget", "message"),
    [
        (
            None,
            {"mean_bits": 1.9},
            r"budget\.mean_bits=1\.9 is below the smallest possible: 2 bits everywhere .* take "
            r"\S+ MiB, 35 % of it in layer 'convs\.1'; \S+ are allowed",
        ),
        (None, {"mean_bits": 15.5}, "met by everything: at most 16 bits"),
        (
            lone,
            {"mean_bits": 2.5},
            "between two levels: only the bits of layer '0' are learned, 2 or 3",
        ),
    ],
)
def test_budgets_that_cannot_be_met(
    tiny_network: nn.Module,
    network: Callable[[], nn.Module] | None,
    budget: dict[str, float],
    message: str,
) -> None:
    float_network = tiny_network if network is None else network()
    with pytest.raises(BenchError, match=message):
        made(float_network, quant("mixed", 8, **budget))


def test_a_start_that_meets_the_budget_is_refused(tiny_network: nn.Module) -> None:
    met = (
        r"budget\.mean_bits=3 is met before anything is learned, .* 35 % of it in layer 'convs\.1';"
    )
    with pytest.raises(BenchError, match=met):
        made(tiny_network, quant(), bits=(3,))


def test_what_is_missed_and_what_has_collapsed_is_said(tiny_network: nn.Module) -> None:
    network = made(tiny_network, quant())
    history = [{"collapsed": {"convs.1": 2, "head": 1}}]
    missed, activations, collapsed = METHOD.warnings(network, quant(), history)
    assert "has missed a target: weights, MiB" in missed
    assert missed.endswith("of quant.budget.mean_bits=3")
    assert "activations, MiB" in activations
    assert collapsed == "the range has shrunk to the step in layer 'convs.1', 'head'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"update_period": 0}, "update_period=0; give 1 or more"),
        ({"bits": (4, 3)}, r"bits=\(4, 3\); give one number, or none"),
        ({"labels": 0.0}, "distillation=0.0; give above 0, or labels"),
        ({"qat": QatSpec()}, "it is another method than mixed_step_range"),
        ({"init": "scratch", "distillation": 1.0}, "distillation=1.0; give init=pretrained"),
    ],
)
def test_what_is_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(METHOD, **options)


def test_what_a_training_is_named_by() -> None:
    names = [
        METHOD.identity_of_training(spec)
        for spec in (quant(), quant(mean_bits=2, mean_activation_bits=3))
    ]
    assert names[0] != names[1]
    longer = replace(METHOD, finetuning_epochs=2).identity_of_training(quant())
    assert longer != names[0]
    assert replace(METHOD, pretraining_epochs=0).phases == ("mixed", "finetuning")
