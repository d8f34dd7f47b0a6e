"""A training that learns steps and ranges under a penalty on the sizes that they come to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from methods.training.curves import Curves
from methods.training.sizes import MIB_BITS, Target
from methods.training.strategy import Moment, Strategy, divergence
from models.errors import BenchError
from models.qat.network import quantizer_parameters
from models.qat.sizes import Part, dead_layers


class Constants(NamedTuple):
    """Those of `SizePenalty`, as the parameters of its method describe them.

    phases: the names of those that there are.
    """

    phases: tuple[str, ...]
    learned_in: tuple[str, ...]
    update_period: int
    variant: str
    penalty: float
    penalty_unit: str
    penalty_start: float
    penalty_rise: float
    labels: float
    distillation: float
    temperature: float

    def strength(self, moment: Moment) -> float:
        """Return the weight of the squared excess at a step of the mixed phase."""
        rising = self.penalty_rise * moment.steps
        risen = min(1.0, moment.step / rising) if rising else 1.0
        return self.penalty * (self.penalty_start + (1 - self.penalty_start) * risen)


class SizePenalty(Strategy):
    """Steps and ranges learn in some phases, and in the one called `mixed` their sizes count.

    smoothing: of the labels. teacher: a float network. targets: what the sizes are to come to.
    """

    def __init__(
        self,
        network: nn.Module,
        smoothing: float,
        teacher: nn.Module,
        constants: Constants,
        targets: Sequence[Target],
    ) -> None:
        super().__init__(network, (), smoothing)
        self.teacher, self.constants, self.targets = teacher, constants, list(targets)
        by_quantizer = {id(p.quantizer): p for target in targets for p in target.sizes.parts}
        self.parts = list(by_quantizer.values())
        self.curves = Curves()
        self.learns = self.is_mixed = False
        self.kept: list[Tensor] = []

    def begin(self, phase: int) -> None:
        name = self.constants.phases[phase]
        self.is_mixed, self.learns = name == "mixed", name in self.constants.learned_in
        for parameter in quantizer_parameters(self.network):
            parameter.requires_grad_(False)
        for learned in self._learned():
            learned.requires_grad_(self.learns)

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        logits = self.network(images)
        loss = self._loss(images, logits, targets)
        sizes = [target.size() for target in self.targets]
        if self.is_mixed:
            excess = [
                target.excess(size, self.constants.penalty_unit).square()
                for target, size in zip(self.targets, sizes, strict=True)
            ]
            loss = loss + self.constants.strength(moment) * torch.stack(excess).sum()
        loss.backward()
        names = [target.shown for target in self.targets]
        self.curves.note({n: s / MIB_BITS for n, s in zip(names, sizes, strict=True)})
        return loss.detach()

    def _loss(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        constants, loss = self.constants, torch.zeros((), device=images.device)
        if constants.labels:
            loss = loss + constants.labels * self.hard_loss(logits, targets)
        if constants.distillation:
            with torch.no_grad():
                wanted = self.teacher(images)
            taught = divergence(logits, wanted, constants.temperature)
            loss = loss + constants.distillation * taught
        return loss

    @torch.no_grad()
    def before_update(self, moment: Moment) -> None:
        """Limit the gradients of step d and range to -d..d; hold them back but at some steps."""
        if not self.learns:
            return
        due = (moment.step + 1) % self.constants.update_period == 0
        for part in self.parts:
            limit_gradients(part)
        if not due and self.constants.variant == "release":
            for parameter in self._learned():
                assert parameter.grad is not None
                parameter.grad.zero_()
        held = not due and self.constants.variant == "paper"
        self.kept = [parameter.clone() for parameter in self._learned()] if held else []

    @torch.no_grad()
    def after_update(self, moment: Moment) -> None:
        if self.kept:
            for parameter, value in zip(self._learned(), self.kept, strict=True):
                parameter.copy_(value)

    def _learned(self) -> list[Tensor]:
        return [parameter for part in self.parts for parameter in (part.step, part.xmax)]

    def state(self) -> dict[str, Any]:
        return self.curves.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.curves.restore(state)

    def record(self) -> dict[str, Any]:
        """Raises BenchError where every weight of a layer is quantized to 0."""
        if dead := dead_layers(self.network):
            raise BenchError(
                f"the step of layer {dead[0]!r} has become so large that all its weights are "
                "quantized to 0; lower method.schedule.quantizer_rate or method.penalty, or raise "
                "the budget"
            )
        record: dict[str, Any] = {
            "curves": self.curves.record(),
            "targets": {target.shown: target.size_bits / MIB_BITS for target in self.targets},
        }
        collapsed = {k: v for target in self.targets for k, v in target.sizes.collapsed().items()}
        return record | ({"collapsed": collapsed} if collapsed else {})


def limit_gradients(part: Part) -> None:
    """Limit the gradients of step d and range of `part` to -d..d."""
    limit = part.step.detach()
    for parameter in (part.step, part.xmax):
        assert parameter.grad is not None
        parameter.grad.copy_(torch.minimum(torch.maximum(parameter.grad, -limit), limit))
