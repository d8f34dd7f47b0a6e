"""The generator and its student: figures of the GDFQ release, phases, resume, collapse."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.dsg_qat import DSGQat
from methods.gdfq import GDFQ
from methods.generation.base import GENERATION, GeneratedTraining
from methods.generation.strategy import VARIETY, Generative, variety
from methods.training.loop import Training
from methods.training.strategy import Moment
from methods.training.surroundings import InMemory
from models.errors import BenchError, NotApplicable
from models.qat.affine import RunningRange
from models.quantize.spec import QuantSpec
from tests.methods.training.test_loop import StopBehind, Stopped
from tests.models.networks.test_generators import with_known_weights

Golden = Callable[[str], dict[str, np.ndarray]]
QUANT = QuantSpec(4, 4)
SHORT = replace(GENERATION, epochs=3, batch_size=4, lr=0.05)
SMALL: dict[str, Any] = {
    **{"images": 4, "steps": 2, "latent": 5, "warmup_epochs": 1, "range_epochs": 2},
    "schedule": SHORT,
}


def training(
    method: GeneratedTraining, network: nn.Module, checkpoints: InMemory, **options: Any
) -> tuple[Training, Generative]:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    student = method.trainable(network, QUANT, images, generator)
    strategy = method.strategy(student, QUANT, network)
    assert isinstance(strategy, Generative)
    examples = strategy.examples(images, generator)
    made = Training(
        network=student,
        strategy=strategy,
        **examples._asdict(),
        schedules=method.schedules,
        generator=generator,
        checkpoints=checkpoints,
        **options,
    )
    return made, strategy


def state(of: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(of.state_dict())


@pytest.mark.parametrize("by_value", [True, False])
def test_the_students_loss(golden: Golden, tiny_network: nn.Module, by_value: bool) -> None:
    arrays = golden("gdfq")
    method = GDFQ(variant="release" if by_value else "paper", **SMALL)
    strategy = method.strategy(tiny_network, QUANT, tiny_network)
    assert isinstance(strategy, Generative)
    logits = torch.from_numpy(arrays["kd_student"]).requires_grad_()
    teacher, labels = (torch.from_numpy(arrays[k]) for k in ("teacher_logits", "labels"))
    by_class = strategy.hard_loss(logits, labels)
    taught = strategy._divergence(logits, teacher)
    if by_value:
        loss = by_class + taught
        assert loss.item() == pytest.approx(float(arrays["kd_loss"]), rel=1e-5)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.allclose(gradient, torch.from_numpy(arrays["kd_grad"]), atol=1e-6)
    else:
        released = float(arrays["kd_loss"]) - by_class.item()
        assert taught.item() == pytest.approx(10 * released, rel=1e-4)


def test_the_generator_learns_as_in_the_release(golden: Golden, golden_network: nn.Module) -> None:
    arrays = golden("gdfq")
    flat = replace(SHORT, decay="step", milestones=(0.99,), epochs=50)
    changed = {"latent": 100, "schedule": flat, "statistics_weight": 0.1}
    method = GDFQ(variant="release", **(SMALL | changed))
    images = torch.zeros(1, 3, 32, 32)
    strategy = method.strategy(golden_network, QUANT, golden_network)
    assert isinstance(strategy, Generative)
    strategy.examples(images, torch.Generator())
    with_known_weights(strategy.generator)
    for step, (noise, labels) in enumerate(
        zip(arrays["loop_z"], arrays["loop_labels"], strict=True)
    ):
        y = torch.from_numpy(labels)
        made = strategy.generator(torch.from_numpy(noise), y)
        strategy._teach_generator(made, y, Moment(step, 100, torch.Generator()))
    record = strategy.curves.record()
    ours = np.stack([record["generator_cross_entropy"], record["generator_statistics"]], 1)
    theirs = arrays["loop_ce_bns_lossG"]
    # The first steps of Adam have the size of the rate whatever the gradient is: noise grows.
    for first, last, tolerance in ((0, 2, 1e-3), (2, 4, 2e-2), (4, 5, 5e-2)):
        assert np.allclose(ours[first:last], theirs[first:last, :2], rtol=tolerance)
        total = ours[first:last] @ [1, 0.1]
        assert np.allclose(total, theirs[first:last, 2], rtol=tolerance)


def test_warm_up_ranges_and_statistics(tiny_network: nn.Module) -> None:
    made, strategy = training(GDFQ(**SMALL), tiny_network, InMemory())
    before = state(made.network)
    seen: list[tuple[Tensor, Tensor]] = []

    def note(done: int, total: int, loss: float | None = None) -> None:
        ranges = [m.range for m in made.network.modules() if isinstance(m, RunningRange)]
        if loss is None:
            seen.append((made.network.get_parameter("head.weight").clone(), ranges[0].clone()))

    made.progress = note
    first = state(strategy.generator)
    history = made.run()
    weights, ranges = zip(*seen, strict=True)
    assert len(seen) == 6
    assert all(torch.equal(w, before["head.weight"]) for w in weights[:2])  # warm-up
    assert not torch.equal(weights[1], weights[2])
    assert not torch.equal(ranges[2], ranges[3]) and torch.equal(ranges[3], ranges[5])
    assert not torch.equal(state(strategy.generator)["linear.weight"], first["linear.weight"])
    kept = [k for k in before if "running_" in k]
    assert kept and all(torch.equal(before[k], state(made.network)[k]) for k in kept)
    assert {len(values) for values in history[0]["curves"].values()} == {2}
    pictures = strategy.pictures()
    assert pictures is not None and pictures.shape == (3, 4, 3, 8, 8)
    assert all(p.grad is None for p in tiny_network.parameters())


@pytest.mark.parametrize("method", [GDFQ(**SMALL), DSGQat(**SMALL, variant="release")])
@pytest.mark.parametrize("stop", [1, 3])
def test_it_is_taken_up_as_if_it_had_not_stopped(
    tiny_network: nn.Module, method: GeneratedTraining, stop: int
) -> None:
    whole, generator = training(method, tiny_network, InMemory())
    history = whole.run()
    checkpoints = InMemory()
    with pytest.raises(Stopped):
        training(method, tiny_network, checkpoints, interrupts=StopBehind(stop))[0].run()
    resumed, strategy = training(method, tiny_network, checkpoints)
    assert resumed.run() == history
    pairs = (resumed.network, whole.network), (strategy.generator, generator.generator)
    for one, other in pairs:
        assert all(torch.equal(state(one)[key], value) for key, value in state(other).items())
    shown, wanted = strategy.pictures(), generator.pictures()
    assert shown is not None and wanted is not None and torch.equal(shown, wanted)


def test_how_much_images_vary() -> None:
    one = torch.randn(1, 3, 8, 8)
    assert float(variety(one.expand(6, 3, 8, 8))) == pytest.approx(0, abs=1e-6)
    assert float(variety(torch.randn(50, 3, 8, 8))) == pytest.approx(0.98, abs=0.02)


def test_a_collapse_is_said(tiny_network: nn.Module) -> None:
    method = GDFQ(**SMALL)

    def said(values: list[float], first: float = 0.5) -> list[str]:
        history = [{"curves": {VARIETY: of}} for of in ([first], values)]
        return method.warnings(tiny_network, QUANT, history)

    (line,) = said([0.001, 0.003])
    assert line.startswith(
        "the generator has collapsed: of the variance of its images only 2.0e-03"
    )
    assert "at the start 5.0e-01, they are all alike" in line
    assert said([0.5]) == [] and said([0.051]) == []
    assert len(said([0.049])) == 1 and said([0.049], first=0.1) == []


def test_a_collapse_is_seen_in_a_training(tiny_network: nn.Module) -> None:
    method = GDFQ(**(SMALL | {"generator_rate": 1e-9}))
    made, strategy = training(method, tiny_network, InMemory())

    def collapse(done: int, total: int, loss: float | None = None) -> None:
        if done == 4:  # the last epoch is to come
            with torch.no_grad():
                strategy.generator.get_parameter("embedding.weight").zero_()

    made.progress = collapse
    (line,) = method.warnings(tiny_network, QUANT, made.run())
    assert line.startswith("the generator has collapsed")


@pytest.mark.parametrize("done", [1, 3])
def test_a_generator_that_is_not_finite_ends_in_one_line(
    tiny_network: nn.Module, done: int
) -> None:
    made, strategy = training(GDFQ(**SMALL), tiny_network, InMemory())

    def spoil(step: int, total: int, loss: float | None = None) -> None:
        if step == done:
            with torch.no_grad():
                strategy.generator.get_parameter("linear.weight").fill_(torch.nan)

    made.progress = spoil
    wanted = rf"training diverged.*epoch {(done + 1) // 2} is nan.*checkpoint is that of epoch"
    with pytest.raises(BenchError, match=wanted) as caught:
        made.run()
    assert "\n" not in str(caught.value)


def test_what_is_not_finite_is_said_with_the_last_good_checkpoint(tiny_network: nn.Module) -> None:
    method = GDFQ(**(SMALL | {"schedule": replace(SHORT, lr=1e20)}))
    made, _ = training(method, tiny_network, InMemory())
    with pytest.raises(BenchError, match=r"training diverged.*last good checkpoint is that of ep"):
        made.run()


def test_bad_input(tiny_network: nn.Module, make_context: Callable[..., Any]) -> None:
    assert GDFQ().not_applicable(nn.Conv2d(3, 4, 3)) is not None
    with pytest.raises(NotApplicable, match="multiples of 4"):
        GDFQ().calibrate(tiny_network, make_context(input_shape=(3, 9, 9)))
    strategy = GDFQ(classes=9).strategy(tiny_network, QUANT, tiny_network)
    with pytest.raises(BenchError, match=r"classes=9 does not fit the head.*has 5 outputs"):
        strategy.examples(torch.zeros(1, 3, 8, 8), torch.Generator())
    with pytest.raises(ValueError, match="warmup_epochs=3 leave the network none of the 3"):
        GDFQ(**(SMALL | {"warmup_epochs": 3}))
    with pytest.raises(ValueError, match=r"percentile=1\.5"):
        DSGQat(percentile=1.5)


def test_variants() -> None:
    released, paper = GDFQ(variant="release"), GDFQ()
    assert (released.qat.range_average, paper.qat.range_average) == ("fed_back", "corrected")
    assert (released.divergence, paper.divergence) == ("by_value", "by_image")
    assert (released.generator_epsilon, paper.generator_epsilon) == (0.8, 1e-5)
    one, other = (m.identity_of_training(QUANT) for m in (released, paper))
    assert one != other
    ours, theirs = (m.identity_of_training(QUANT) for m in (DSGQat(), DSGQat(enhance=False)))
    assert ours != theirs
