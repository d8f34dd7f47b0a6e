"""Images that are optimised: Adam on their pixels, until a number of steps is done."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from methods.base import Calibration, Context
from models.errors import BenchError


@dataclass(frozen=True)
class PlateauSchedule:
    """Adam, its learning rate divided by 10 after `patience` steps without improvement."""

    iterations: int
    learning_rate: float
    min_learning_rate: float
    patience: int


def optimise(
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    schedule: PlateauSchedule,
    context: Context,
    clip: bool = False,
) -> Calibration:
    """Return what `start` (N, C, H, W) becomes by making `loss` of it small.

    clip: whether `start`, and the images after each step, are brought into the range of pixels
        (projected gradient descent).

    Raises BenchError at a step whose loss is not finite.
    """
    images = start.to(context.device, memory_format=context.memory_format, copy=True)
    if clip:
        images.clamp_(*context.pixel_range)
    images.requires_grad_(True)
    optimizer = Adam([images], lr=schedule.learning_rate)
    scheduler = ReduceLROnPlateau(
        optimizer, patience=schedule.patience, min_lr=schedule.min_learning_rate
    )
    curve: list[float] = []
    for step in range(schedule.iterations):
        curve.append(improve(images, loss, optimizer))
        if not isfinite(curve[-1]):
            raise BenchError(
                f"the loss is {curve[-1]} at step {step + 1}; lower the method's learning rate"
            )
        if clip:
            with torch.no_grad():
                images.clamp_(*context.pixel_range)
        scheduler.step(curve[-1])
        context.progress(step + 1, schedule.iterations, curve[-1])
    return Calibration(images.detach().contiguous().cpu(), curve)


def improve(images: Tensor, loss: Callable[[Tensor], Tensor], optimizer: Optimizer) -> float:
    """Take one step of `optimizer`, which holds `images`; return the loss before it."""
    now = loss(images)
    (images.grad,) = torch.autograd.grad(now, images)
    optimizer.step()
    return now.item()
