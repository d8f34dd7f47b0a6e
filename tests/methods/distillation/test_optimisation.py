"""The optimisation of images."""

from collections.abc import Callable
from math import cos, pi

import pytest
import torch
from torch.optim import Adam

from methods.base import Context
from methods.distillation.optimisation import CosineSchedule, PlateauSchedule, optimise
from models.errors import BenchError

MakeContext = Callable[..., Context]


def test_optimise_minimises(make_context: MakeContext) -> None:
    start = torch.zeros(2, 3, 8, 8)
    schedule = PlateauSchedule(200, 0.1, min_learning_rate=1e-4, patience=100)
    result = optimise(start, lambda x: (x - 0.5).square().sum(), schedule, make_context())
    assert result.curve[0] == pytest.approx(2 * 3 * 64 * 0.25)
    torch.testing.assert_close(result.images, torch.full_like(start, 0.5), atol=1e-2, rtol=0)
    assert not start.any()


def test_clip_keeps_every_step_in_the_range_of_pixels(make_context: MakeContext) -> None:
    low = torch.tensor([-1.0, -2.0, -3.0]).view(1, 3, 1, 1)
    context = make_context(pixel_range=(low, -low))
    start = torch.full((1, 3, 8, 8), 2.5)
    schedule = PlateauSchedule(20, 0.5, min_learning_rate=1e-4, patience=100)
    seen: list[float] = []

    def loss(images: torch.Tensor) -> torch.Tensor:
        seen.append(images[0, 0].amax().item())
        return (images - 10).square().sum()

    result = optimise(start, loss, schedule, context, clip=True)
    assert seen == [1.0] * 20  # the first step sees clipped images too
    assert torch.equal(result.images, (-low).expand(1, 3, 8, 8))
    assert torch.equal(start, torch.full_like(start, 2.5))


def test_a_loss_that_is_not_finite_stops_at_once(make_context: MakeContext) -> None:
    schedule = PlateauSchedule(100, 0.1, min_learning_rate=1e-4, patience=100)
    steps: list[int] = []
    context = make_context(progress=lambda done, total, loss=None: steps.append(done))
    with pytest.raises(
        BenchError, match=r"^the loss is nan at step 3; lower the .* learning rate$"
    ):
        optimise(
            torch.ones(1, 3, 8, 8),
            lambda x: x.sum() * (1 if len(steps) < 2 else float("nan")),
            schedule,
            context,
        )
    assert steps == [1, 2]


def rates_of(schedule: PlateauSchedule | CosineSchedule, losses: list[float]) -> list[float]:
    """The learning rate of each step whose loss is given, and of the one after."""
    optimizer = Adam([torch.zeros(1, requires_grad=True)], lr=schedule.learning_rate)
    follow = schedule.follow(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for loss in losses:
        optimizer.step()
        follow(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_a_plateau_that_forgets_counts_anew() -> None:
    schedule = PlateauSchedule(9, 1.0, 0.2, patience=1, factor=0.5)
    losses = [1.0, 5.0, 5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    assert rates_of(schedule, losses) == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    # From 5 on, 4, 3 and 2 are improvements on what came after the fall.
    forgets = PlateauSchedule(9, 1.0, 0.2, patience=1, factor=0.5, reset=True)
    assert rates_of(forgets, losses) == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_cosine_falls_to_the_least_rate() -> None:
    rates = rates_of(CosineSchedule(4, 1.0, 0.2), [0.0] * 4)
    middle = [0.2 + 0.8 * (1 + cos(pi * step / 4)) / 2 for step in range(5)]
    assert rates == pytest.approx(middle)
    assert rates[-1] == pytest.approx(0.2)


def test_radam_takes_its_first_steps_without_a_second_moment(make_context: MakeContext) -> None:
    schedule = CosineSchedule(1, 0.5, 0.0)
    start = torch.zeros(1, 3, 8, 8)
    found = optimise(start, lambda x: 3 * x.sum(), schedule, make_context(), optimizer="radam")
    torch.testing.assert_close(found.images, start - 0.5 * 3)  # Adam: - 0.5
    found = optimise(start, lambda x: 3 * x.sum(), schedule, make_context())
    torch.testing.assert_close(found.images, start - 0.5)
