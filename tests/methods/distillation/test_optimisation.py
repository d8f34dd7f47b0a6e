"""The optimisation of images."""

from collections.abc import Callable

import pytest
import torch

from methods.base import Context
from methods.distillation.optimisation import PlateauSchedule, optimise
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
