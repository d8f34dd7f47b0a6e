"""What a method brings to a training step: how bit-widths take part in it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.training.surroundings import Examples
from models.qat.network import set_bits


class Moment(NamedTuple):
    """When a step happens: `step` of 0..`steps`-1 of a phase.

    generator: on the CPU, seeded, for the draws of the step. phase: its number, from 0.
    """

    step: int
    steps: int
    generator: torch.Generator
    phase: int = 0

    @property
    def fraction(self) -> float:
        """How much of the phase has passed, 0..1."""
        return self.step / max(1, self.steps - 1)


class Strategy(ABC):
    """One training step of a network at its bit-widths, and what it remembers between steps.

    bits: descending. smoothing: of the labels, 0..1.
    """

    def __init__(self, network: nn.Module, bits: Sequence[int], smoothing: float) -> None:
        self.network = network
        self.bits = tuple(bits)
        self.hard_loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
        # Of tensors over the processes that share the batch; the loop sets it where there are some.
        self.average: Callable[[Sequence[Tensor]], None] = _alone

    @abstractmethod
    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        """Run forward and backward passes; return the loss, (), without a gradient.

        images: (N, C, H, W), normalised; of clips the frames, one clip behind the other, for which
        the network returns one row of logits a clip. targets: (N,) class indices, or what else the
        method that trains on images of its own has given them. It runs within
        `models.qat.layers.quantized_weights`, and nothing in it waits for the device.
        """

    def examples(self, images: Tensor, generator: torch.Generator) -> Examples:
        """Return what is trained on where the method sees no training images: what it has made.

        It is called before the first step, also of a training that is taken up.
        images: (N, C, H, W) normalised, on the device, what the method's `calibrate` returned.
        generator: on the CPU, that of the training.
        """
        raise NotImplementedError(f"{type(self).__name__} has no images of its own")

    def begin(self, phase: int) -> None:  # noqa: B027 - most have one phase
        """Make the network ready for a phase, 0 being the first.

        Also called where a training is taken up within the phase, or at its end, before the state
        is restored; the optimiser is made behind it.
        """

    def before_update(self, moment: Moment) -> None:  # noqa: B027 - most leave gradients alone
        """Change gradients, averaged over the processes, before the optimiser sees them."""

    def after_update(self, moment: Moment) -> None:  # noqa: B027 - most leave the update alone
        """Change what the optimiser has made, after what is learned is back in its bounds."""

    def state(self) -> dict[str, Any]:
        """Return what is remembered between steps: tensors, and numbers in dicts and lists."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - most remember nothing
        """Remember `state` again."""

    def pictures(self) -> Tensor | None:
        """Return images that were trained on, to be looked at, (times, n, C, H, W) normalised."""
        return None

    def record(self) -> dict[str, Any]:
        """Return what is worth knowing of the epoch that ends, as JSON, and begin a new one.

        `curves` has values over the epoch by name (`methods.training.curves`), and `targets` what
        those of the same name are to come to.
        """
        return {}


def _alone(tensors: Sequence[Tensor]) -> None:
    """The mean over one process is itself."""


class HardLabels(Strategy):
    """Cross-entropy with the labels at each bit-width; the gradients add up."""

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        total = torch.zeros((), device=images.device)
        for bits in self.bits:
            set_bits(self.network, bits)
            loss = self.hard_loss(self.network(images), targets)
            loss.backward()
            total += loss.detach()
        return total / len(self.bits)


class Plain(HardLabels):
    """Cross-entropy of a network without bit-widths."""

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        loss: Tensor = self.hard_loss(self.network(images), targets)
        loss.backward()
        return loss.detach()


def divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(logits / T)), both (N, K), the mean over N.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).
    """
    t = temperature
    student, target = (logits / t).log_softmax(1), (teacher / t).log_softmax(1)
    return t**2 * functional.kl_div(student, target, log_target=True, reduction="batchmean")


def soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean cross-entropy of `logits` with softmax(`teacher`), both (N, K).

    No gradient goes to `teacher`.
    """
    target = teacher.detach().softmax(dim=1)
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
