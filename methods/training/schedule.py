"""How a network is trained: optimiser, learning rate, augmentation, averaging."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.training.rmsprop import RMSprop
from models.errors import BenchError
from models.qat.layers import is_depthwise
from models.qat.network import quantizer_parameters

Augmentation = Literal["affine", "crop_flip", "none"]


@dataclass(frozen=True)
class Schedule:
    """Epochs, optimiser and augmentation; the default is the project's own recipe for digits.

    epochs: passes over the training images; the weights after the last one are the result.
    batch_size: images a step, over all processes; an incomplete last batch of an epoch is left out.
    optimizer: `sgd` (momentum, nesterov), `adam`, or `rmsprop` (momentum; see
        `methods.training.rmsprop`).
    decay: `cosine`: the learning rate rises to `lr` over the `warmup` fraction (0..1, exclusive of
        1) of all steps by half a cosine from zero and falls to zero by the other half; `step`:
        after the same rise it is multiplied by `gamma` at each of `milestones` (fractions of all
        steps).
    rise: whether the learning rate rises by half a cosine, or from 0 in equal steps; then time is
        that before a step and not in its middle, as in Optax.
    quantizer_rate: factor on the learning rate of what quantizers learn.
    weight_decay: on weights, not on BatchNorm, biases and what quantizers learn.
    depthwise_decay: whether it is on the weights of depthwise convolutions too.
    label_smoothing: 0..1, the share of the target spread over all classes.
    augment: `affine` (a warp uniform within max_shift pixels each axis, max_rotation degrees and
        max_scale, a fraction below 1; black outside), `crop_flip` (a shift by up to max_shift whole
        pixels, black outside, and a mirror image in half of the cases) or `none`.
    ema: decay of an exponential average of the weights that is the result; 0 for none.
    amp: whether the network computes in bfloat16 where autocast deems that safe.
    """

    epochs: int = 12
    batch_size: int = 64
    optimizer: Literal["sgd", "adam", "rmsprop"] = "sgd"
    lr: float = 0.2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay: Literal["cosine", "step"] = "cosine"
    warmup: float = 0.25
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    label_smoothing: float = 0.05
    augment: Augmentation = "affine"
    max_shift: float = 2.0
    max_rotation: float = 10.0
    max_scale: float = 0.1
    ema: float = 0.0
    amp: bool = False
    depthwise_decay: bool = True
    quantizer_rate: float = 1.0
    rise: Literal["cosine", "linear"] = "cosine"

    def __post_init__(self) -> None:
        """Raises BenchError naming the field that is out of range."""
        increasing = list(self.milestones) == sorted(set(self.milestones))
        accepted = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 2, "2 or more"),
            "lr": (0 < self.lr < math.inf, "a number above 0"),
            "momentum": (
                0 <= self.momentum < 1 and (self.momentum > 0 or not self.nesterov),
                "0 or more and below 1, with nesterov above 0",
            ),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "0 or more and below 1"),
            "milestones": (
                increasing and all(0 < m < 1 for m in self.milestones),
                "increasing numbers above 0 and below 1",
            ),
            "gamma": (0 < self.gamma <= 1, "a number above 0 and up to 1"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 or more and below 1"),
            "max_shift": (0 <= self.max_shift < math.inf, "0 or more"),
            "max_rotation": (0 <= self.max_rotation <= 180, "0 to 180"),
            "max_scale": (0 <= self.max_scale < 1, "0 or more and below 1"),
            "ema": (0 <= self.ema < 1, "0 or more and below 1"),
            "quantizer_rate": (0 < self.quantizer_rate < math.inf, "a number above 0"),
        }
        for field, (fine, limits) in accepted.items():
            if not fine:
                raise BenchError(
                    f"training schedule: {field}={getattr(self, field)!r} is out of range; "
                    f"give {limits}"
                )


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Return the learning rate of `step` (0..steps-1)."""
    peak = schedule.warmup * steps
    # The middle of the step, so that neither the first nor the last has a rate of zero.
    time = step + (0.5 if schedule.rise == "cosine" else 0)
    if time < peak and schedule.rise == "linear":
        return schedule.lr * time / peak
    if time < peak:
        return schedule.lr * 0.5 * (1 - math.cos(math.pi * time / peak))
    if schedule.decay == "step":
        passed = sum(time >= milestone * steps for milestone in schedule.milestones)
        return schedule.lr * schedule.gamma**passed
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * (time - peak) / (steps - peak)))


def optimiser(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Return the optimiser of all parameters of `network`; only weights decay."""
    learned = set[Tensor](quantizer_parameters(network))
    spared = set(learned)
    if not schedule.depthwise_decay:
        spared |= {m.weight for m in network.modules() if is_depthwise(m)}
    decayed = [p for p in network.parameters() if p.ndim > 1 and p not in spared]
    others = [p for p in network.parameters() if p.ndim <= 1 or p in spared]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    if schedule.quantizer_rate != 1:  # else two groups, as in earlier checkpoints
        groups[1]["params"] = [p for p in others if p not in learned]
        of_quantizers = [p for p in others if p in learned]
        groups.append(
            {"params": of_quantizers, "weight_decay": 0.0, "factor": schedule.quantizer_rate}
        )
    shared: dict[str, Any] = {"lr": schedule.lr, "weight_decay": schedule.weight_decay}
    if schedule.optimizer == "adam":
        return torch.optim.Adam(groups, **shared)
    if schedule.optimizer == "rmsprop":
        return RMSprop(groups, **shared, momentum=schedule.momentum)
    return torch.optim.SGD(groups, **shared, momentum=schedule.momentum, nesterov=schedule.nesterov)
