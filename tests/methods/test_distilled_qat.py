"""Training on the images of a calibration method: what it sees, and what names it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.base import Context
from methods.distilled_qat import DISTILLATION, DistilledQat, TaughtOnly
from methods.gaussian import Gaussian
from methods.registry import sees_real_images
from methods.training.strategy import Moment, divergence
from methods.zeroq import ZeroQ
from models.errors import BenchError
from models.quantize.spec import QuantSpec

MakeContext = Callable[..., Context]
NOISE: dict[str, Any] = {"name": "gaussian", "images": 6}
QUANT = QuantSpec(4, 4)


def test_the_images_are_those_of_its_source(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    method = DistilledQat(source=NOISE)
    images = method.calibrate(tiny_network, make_context()).images
    assert torch.equal(images, Gaussian(6).calibrate(tiny_network, make_context()).images)
    assert method.images == 6
    assert DistilledQat(images=3, source=NOISE).source == {"name": "gaussian", "images": 3}
    assert method.image_method == Gaussian(6)


def test_what_it_is_named_by(monkeypatch: pytest.MonkeyPatch) -> None:
    short, full = ({"name": "zeroq", "images": 256, **more} for more in ({}, {"patience": 100}))
    method = DistilledQat(source=short)
    assert method == DistilledQat(source=full) == DistilledQat()
    assert method.identity()["source"] == ZeroQ(256).identity()
    training = method.identity_of_training(QUANT)
    assert training["source"] == ZeroQ(256).identity()
    assert training != DistilledQat(source={**short, "patience": 99}).identity_of_training(QUANT)
    monkeypatch.setattr(ZeroQ, "version", 2)
    assert method.identity_of_training(QUANT) != training
    assert method.identity()["source"]["version"] == 2


def test_only_the_control_sees_training_images() -> None:
    assert not DistilledQat(source=NOISE).sees_real_images
    control = DistilledQat(source={"name": "real", "images": 8})
    assert control.sees_real_images and not control.needs_real_images
    assert sees_real_images({"name": "distilled_qat", "source": {"name": "real"}})
    assert not sees_real_images({"name": "distilled_qat", "source": {"name": "dsg"}})


class Counting(nn.Module):
    """A teacher that counts the images that it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.shown = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.shown += len(x)
        logits: Tensor = self.network(x)
        return logits


def test_the_teacher_looks_once_and_the_student_learns(tiny_network: nn.Module) -> None:
    method, generator = DistilledQat(source=NOISE), torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    student = method.trainable(tiny_network, QUANT, images, generator)
    teacher = Counting(tiny_network)
    strategy = method.strategy(student, QUANT, teacher)
    assert isinstance(strategy, TaughtOnly)
    examples = strategy.examples(images, generator)
    assert teacher.shown == 6
    chosen = torch.tensor([4, 1])
    assert torch.equal(examples.images(chosen), images[chosen])
    statistics = student.get_submodule("norms.0").running_mean
    before = torch.as_tensor(statistics).clone()
    moment = Moment(0, 4, generator)
    loss = strategy.step(images[chosen], examples.targets[chosen], moment)
    logits, target = student(images[chosen]) / 4, tiny_network(images[chosen]) / 4
    wanted = 16 * (target.softmax(1) * (target.log_softmax(1) - logits.log_softmax(1))).sum(1)
    assert loss.item() == pytest.approx(wanted.mean().item(), rel=1e-4)
    assert student.get_parameter("head.weight").grad is not None
    assert torch.equal(torch.as_tensor(statistics), before)
    assert teacher.shown == 6


def test_divergence_is_that_of_distillation() -> None:
    logits, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind()
    same = functional.kl_div(logits.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    assert divergence(logits, teacher, 1.0).item() == pytest.approx(same.item(), rel=1e-5)
    assert divergence(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_bits() -> None:
    method = DistilledQat(source=NOISE)
    for spec in (QuantSpec(4, 8), QuantSpec(4, 4), QuantSpec(2, 3)):
        method.check(spec)
    assert method.training_spec(QuantSpec(4, 8)).input_bits == 8
    assert method.training_spec(QUANT) == method.qat
    with pytest.raises(BenchError, match="used at W8, W6, W4, W3, W2, and at activation bits"):
        method.check(QuantSpec(5, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"images": 6}}, "method.source has no name"),
        ({"source": {"name": "zero"}}, "method.source: unknown method"),
        ({"source": {"name": "zeroq", "step": 1}}, "method.source: method 'zeroq' has no param"),
        ({"source": {"name": "dfq"}}, "source.name=dfq does more than make images"),
        ({"source": {"name": "individual"}}, "source.name=individual does more than make images"),
        ({"source": {"name": "float"}}, "source.name=float does more than make images"),
        ({"images": 0}, "images=0; give at least 1"),
        ({"temperature": 0.0}, "temperature=0.0; give a number above 0"),
    ],
)
def test_bad_input(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((BenchError, ValueError)) as raised:
        DistilledQat(**({"source": NOISE} | changes))
    assert message in str(raised.value)


def test_a_schedule_that_changes_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schedule\.augment=affine"):
        DistilledQat(source=NOISE, schedule=replace(DISTILLATION, augment="affine"))
