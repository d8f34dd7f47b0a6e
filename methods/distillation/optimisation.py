"""Images that are optimised: Adam or RAdam on their pixels, until a number of steps is done."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer, RAdam
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from methods.base import Calibration, Context
from models.errors import BenchError


@dataclass(frozen=True)
class PlateauSchedule:
    """The learning rate is multiplied by `factor` after `patience` steps without improvement.

    reset: whether the least loss so far is forgotten whenever the rate falls.
    """

    iterations: int
    learning_rate: float
    min_learning_rate: float
    patience: int
    factor: float = 0.1
    reset: bool = False

    def follow(self, optimizer: Optimizer) -> Callable[[float], None]:
        """Return what is to be told the loss of each step and sets the rate for the next."""
        plateau = ReduceLROnPlateau(
            optimizer, factor=self.factor, patience=self.patience, min_lr=self.min_learning_rate
        )

        def step(loss: float) -> None:
            before = optimizer.param_groups[0]["lr"]
            plateau.step(loss)
            if self.reset and optimizer.param_groups[0]["lr"] < before:
                plateau.best = inf

        return step


@dataclass(frozen=True)
class CosineSchedule:
    """The learning rate falls to `min_learning_rate` along half a period of a cosine."""

    iterations: int
    learning_rate: float
    min_learning_rate: float

    def follow(self, optimizer: Optimizer) -> Callable[[float], None]:
        """Return what is to be called after each step and sets the rate for the next."""
        cosine = CosineAnnealingLR(optimizer, self.iterations, eta_min=self.min_learning_rate)
        return lambda loss: cosine.step()


def optimise(
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    schedule: PlateauSchedule | CosineSchedule,
    context: Context,
    clip: bool = False,
    optimizer: Literal["adam", "radam"] = "adam",
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
    kind = Adam if optimizer == "adam" else RAdam
    steps = kind([images], lr=schedule.learning_rate)
    follow = schedule.follow(steps)
    curve: list[float] = []
    for step in range(schedule.iterations):
        curve.append(improve(images, loss, steps))
        if not isfinite(curve[-1]):
            raise BenchError(
                f"the loss is {curve[-1]} at step {step + 1}; lower the method's learning rate"
            )
        if clip:
            with torch.no_grad():
                images.clamp_(*context.pixel_range)
        follow(curve[-1])
        context.progress(step + 1, schedule.iterations, curve[-1])
    return Calibration(images.detach().contiguous().cpu(), curve)


def improve(images: Tensor, loss: Callable[[Tensor], Tensor], optimizer: Optimizer) -> float:
    """Take one step of `optimizer`, which holds `images`; return the loss before it."""
    now = loss(images)
    (images.grad,) = torch.autograd.grad(now, images)
    optimizer.step()
    return now.item()
