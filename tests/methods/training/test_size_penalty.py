"""Steps and ranges under a penalty on their size: the order of a step, and when they learn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.mixed_step_range import MixedStepRange
from methods.training.rmsprop import RMSprop
from methods.training.schedule import Schedule, learning_rate
from methods.training.size_penalty import SizePenalty, limit_gradients
from methods.training.strategy import Moment
from models.errors import BenchError
from models.qat import mixed
from models.qat.layers import quantized_weights
from models.qat.network import quantized_layers
from models.qat.sizes import Part
from models.qat.surrogate import Surrogate
from models.quantize.spec import QuantSpec

Golden = Callable[[str], dict[str, np.ndarray]]
SHORT = Schedule(epochs=1, batch_size=4, optimizer="rmsprop", lr=0.01)
METHOD = MixedStepRange(schedule=SHORT, penalty=1.0, penalty_unit="target", update_period=2)
QUANT = QuantSpec("mixed", "mixed", budget={"mean_bits": 3, "mean_activation_bits": 3})  # type: ignore[arg-type]


def moment(step: int, steps: int = 40, phase: int = 1) -> Moment:
    return Moment(step, steps, torch.Generator(), phase)


def test_the_penalty_rises_as_in_the_release(golden: Golden) -> None:
    arrays = golden("mixed_penalty")
    constants = MixedStepRange(penalty=1.0).constants
    ours = [constants.strength(moment(int(step))) for step in arrays["sched_steps"]]
    assert np.allclose(ours, arrays["sched_penalty"], rtol=1e-5)


def test_the_rate_rises_and_falls_as_in_the_release(golden: Golden) -> None:
    arrays = golden("mixed_penalty")
    schedule = Schedule(lr=0.1 * 64 / 256, warmup=0.25, rise="linear")
    ours = [learning_rate(schedule, int(step), 40) for step in arrays["sched_steps"]]
    assert np.allclose(ours, arrays["sched_lr"], rtol=1e-4, atol=1e-8)


def quantizer(arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Part:
    made = mixed.MixedStepRange([4], Surrogate(), True, torch.ones(3), (2.0**-12, 1.0))
    with torch.no_grad():
        made.step["4"].copy_(torch.from_numpy(arrays["opt_d0"]))
        made.xmax["4"].copy_(torch.from_numpy(arrays["opt_xmax0"]))
    return Part("it", made, 4, 3)


def test_twenty_steps_are_those_of_the_release(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limit, mask, RMSprop, bounds; with momentum, what is masked moves too."""
    arrays = golden("mixed_penalty")
    part = quantizer(arrays, monkeypatch)
    learned = [part.step, part.xmax]
    update = RMSprop([{"params": learned}], lr=0.004, momentum=0.9, weight_decay=0.0)
    for step in range(20):
        for parameter, name in ((part.step, "opt_gd"), (part.xmax, "opt_gxmax")):
            parameter.grad = torch.from_numpy(arrays[name].copy())
        limit_gradients(part)
        if (step + 1) % 5:
            for parameter in learned:
                parameter.grad.zero_()  # type: ignore[union-attr]
        update.step()
        part.quantizer.project()
        for parameter, name in ((part.step, "opt_d_steps"), (part.xmax, "opt_xmax_steps")):
            assert np.allclose(parameter.detach().numpy(), arrays[name][step], rtol=2e-5), step


class Steps:
    """A strategy with its network, driven as the loop does."""

    def __init__(self, network: nn.Module, method: MixedStepRange) -> None:
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(4, 3, 8, 8, generator=generator)
        self.labels = torch.tensor([0, 1, 2, 3])
        self.network = method.trainable(network, QUANT, self.images, generator)
        strategy = method.strategy(self.network, QUANT, network)
        assert isinstance(strategy, SizePenalty)
        self.strategy, self.method = strategy, method

    def begin(self, phase: int) -> None:
        self.strategy.begin(phase)
        groups = [{"params": [*self.network.parameters()]}]
        self.update = RMSprop(groups, lr=0.01, momentum=0.9, weight_decay=0.0)

    def run(self, at: Moment) -> Tensor:
        self.update.zero_grad(set_to_none=True)
        with quantized_weights(self.network):
            loss = self.strategy.step(self.images, self.labels, at)
        self.strategy.before_update(at)
        self.update.step()
        for part in self.strategy.parts:
            part.quantizer.project()
        self.strategy.after_update(at)
        return loss

    def learned(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.strategy._learned()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("variant", ["release", "paper"])
def test_ranges_learn_in_the_mixed_phase_and_at_their_steps(
    tiny_network: nn.Module, variant: Any
) -> None:
    steps = Steps(tiny_network, replace(METHOD, variant=variant))
    assert METHOD.phases == ("pretraining", "mixed", "finetuning")
    weight = steps.network.get_parameter("convs.1.weight")
    for phase in (0, 2):
        steps.begin(phase)
        before, old = steps.learned(), weight.detach().clone()
        steps.run(moment(1, phase=phase))
        assert same(steps.learned(), before)
        assert not torch.equal(weight, old)
    steps.begin(1)
    moved = []
    for step in range(5):
        before = steps.learned()
        steps.run(moment(step))
        moved.append(not same(steps.learned(), before))
    # Of the release the momentum goes on from the first time on.
    assert moved == [False, True, variant == "release", True, variant == "release"]


@pytest.mark.thorough
def test_sizes_fall_to_their_targets_and_are_recorded(tiny_network: nn.Module) -> None:
    steps = Steps(tiny_network, replace(METHOD, penalty_rise=0.0, update_period=1))
    steps.begin(1)
    for step in range(200):
        steps.run(moment(step, 200))
    record = steps.strategy.record()
    assert (
        record["targets"].keys() == record["curves"].keys() == {"weights, MiB", "activations, MiB"}
    )
    for name, sizes in record["curves"].items():
        target = record["targets"][name]
        assert sizes[0] > 1.2 * target
        # A size is of whole bits, and goes up and down around its target by one of a layer.
        assert min(sizes[-40:]) <= target
        assert float(np.median(sizes[-40:])) < 1.1 * target
    network = steps.network
    bits = {m.weight_quantizer.bits_in_use(m.bits) for m in quantized_layers(network).values()}  # type: ignore[arg-type]
    assert len(bits) > 0


def test_the_loss_has_its_terms(tiny_network: nn.Module) -> None:
    excess: list[float] = []

    def loss(phase: int, **options: Any) -> float:
        steps = Steps(tiny_network, replace(METHOD, **options))
        steps.begin(phase)
        pairs = [(float(t.size().detach()), t.size_bits) for t in steps.strategy.targets]
        excess[:] = [size / target - 1 for size, target in pairs]
        return float(steps.run(moment(39, phase=phase)))

    labels = loss(0)
    of_sizes = loss(1) - labels
    assert of_sizes == pytest.approx(sum(x**2 for x in excess), rel=1e-4)
    assert loss(1, penalty=2.0) - labels == pytest.approx(2 * of_sizes, rel=1e-4)
    both = loss(0, distillation=0.5)
    alone = loss(0, distillation=0.5, labels=0.0)
    assert both == pytest.approx(labels + alone, rel=1e-5)
    assert alone > 0


def test_a_layer_without_any_weight_left_ends_the_training(tiny_network: nn.Module) -> None:
    steps = Steps(tiny_network, METHOD)
    layer = quantized_layers(steps.network)["convs.1"]
    with torch.no_grad():
        layer.weight.zero_()
    with pytest.raises(BenchError, match=r"the step of layer 'convs\.1' has become so large"):
        steps.strategy.record()
