"""A step of a generator that learns to make images, and of a network that learns from them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from methods.distillation.classes import fitting, outputs_of
from methods.distillation.matching import statistics_of
from methods.distillation.priors import spectrum_difference
from methods.generation.statistics import StatisticsLoss
from methods.training.curves import Curves
from methods.training.schedule import Schedule, learning_rate
from methods.training.strategy import Moment, Strategy, divergence
from methods.training.surroundings import Examples, to_device
from models.networks.generators import make_generator
from models.qat.quantizer import Quantizer

VARIETY = "image_variety"
_BETAS = (0.5, 0.999)
_SHOWN = 8  # images of a step that are kept to be looked at, and how many steps


class Constants(NamedTuple):
    """Those of a generator and its student, as the parameters of `GeneratedTraining` say.

    schedule: of the student; the generator has its own rate along the same course.
    """

    schedule: Schedule
    steps: int
    classes: int | None
    latent: int
    generator_rate: float
    generator_epsilon: float
    warmup_epochs: int
    range_epochs: int
    statistics_weight: float
    diversity_weight: float
    distillation: float
    temperature: float
    by_value: bool


class Generative(Strategy):
    """Images made anew each step; the generator learns from the teacher, the student from both.

    The generator: CE(teacher(x), y) + statistics_weight loss(x's statistics in the teacher), and
    with a diversity weight the difference between the eigenvalues of its images' cosine
    similarities and those of Gaussian images, over the number of layers. The student, on the same
    images: CE(student(x), y) + distillation T^2 KL(teacher || student), once the `warmup_epochs`
    are over. Classes and noise are drawn for each step. The student's quantizers watch their ranges
    in the first `range_epochs`, warm-up included; its BatchNorm statistics stay.

    make_loss: from the images of `examples` to what statistics cost.
    """

    def __init__(
        self,
        student: nn.Module,
        bits: tuple[int, ...],
        teacher: nn.Module,
        constants: Constants,
        make_loss: Callable[[nn.Module, Tensor], StatisticsLoss],
    ) -> None:
        super().__init__(student, bits, smoothing=0.0)
        self.teacher, self.constants, self.make_loss = teacher, constants, make_loss
        self.quantizers = [m for m in student.modules() if isinstance(m, Quantizer)]
        self.curves = Curves()
        self.shown: list[Tensor] = []

    def examples(self, images: Tensor, generator: torch.Generator) -> Examples:
        """Make the generator; return as many places without an image as an epoch has images."""
        constants, device = self.constants, images.device
        self.loss = self.make_loss(self.teacher, images)
        outputs = outputs_of(self.teacher, images[:1])
        self.classes = fitting(outputs, constants.classes, "use method=distilled_qat")
        channels, height, width = images.shape[1:]
        shape = channels, height, width
        made = make_generator(
            self.classes, shape, constants.latent, constants.generator_epsilon, generator
        )
        self.generator = made.to(device)
        rate = constants.generator_rate
        self.adam = torch.optim.Adam(self.generator.parameters(), lr=rate, betas=_BETAS)
        self.rates = replace(constants.schedule, lr=rate, warmup=0.0)
        places = torch.zeros(constants.steps * constants.schedule.batch_size, dtype=torch.int64)
        blank = torch.zeros(1, 1, 1, 1, device=device)
        return Examples(
            lambda indices: blank.expand(len(indices), 1, 1, 1),
            places.to(device),
            lambda inputs: inputs,
        )

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        constants, device = self.constants, targets.device
        epoch = moment.step // constants.steps
        count = len(targets)
        noise = torch.randn(count, constants.latent, generator=moment.generator)
        drawn = torch.randint(self.classes, (count,), generator=moment.generator)
        labels = to_device(drawn, device)
        made = self.generator(to_device(noise, device), labels)
        made = made.contiguous(memory_format=torch.channels_last)
        taught = self._teach_generator(made, labels, moment)
        made = made.detach()
        for quantizer in self.quantizers:
            quantizer.train(epoch < constants.range_epochs)
        learns = epoch >= constants.warmup_epochs
        with torch.set_grad_enabled(learns):
            logits = self.network(made)
            loss = self.hard_loss(logits, labels) + constants.distillation * self._divergence(
                logits, taught
            )
        if learns:
            loss.backward()
        self.last = made[:_SHOWN], moment
        self.curves.note({VARIETY: variety(made)})
        return loss.detach()

    def _teach_generator(self, made: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """Update the generator; return the teacher's logits of what it has made, (N, classes)."""
        constants, targets = self.constants, self.loss.targets
        found = statistics_of(targets, self.teacher, made, output=True)
        assert found.output is not None
        by_class, by_statistics = cross_entropy(found.output, labels), self.loss(found)
        loss = by_class + constants.statistics_weight * by_statistics
        if constants.diversity_weight:
            gaussian = torch.randn(made.shape, generator=moment.generator)
            apart = spectrum_difference(made, to_device(gaussian, made.device))
            loss = loss + constants.diversity_weight / targets.layers * apart
        rate = learning_rate(self.rates, moment.step, moment.steps)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        self.curves.note(
            {"generator_cross_entropy": by_class, "generator_statistics": by_statistics}
        )
        return found.output.detach()

    def _divergence(self, logits: Tensor, teacher: Tensor) -> Tensor:
        t = self.constants.temperature
        if not self.constants.by_value:
            return divergence(logits, teacher, t)
        student, target = (logits / t).log_softmax(1), (teacher / t).softmax(1)
        # Over all values, which is what "mean" is.
        return t**2 * kl_div(student, target, reduction="sum") / logits.numel()

    def state(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "adam": self.adam.state_dict(),
            "curves": self.curves.state(),
            "shown": list(self.shown),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.adam.load_state_dict(state["adam"])
        self.curves.restore(state["curves"])
        self.shown = list(state["shown"])

    def record(self) -> dict[str, Any]:
        images, moment = self.last
        epoch, epochs = (n // self.constants.steps for n in (moment.step, moment.steps))
        due = {epochs * (at + 1) // _SHOWN - 1 for at in range(_SHOWN)}
        if epoch in due or epoch == 0:
            self.shown.append(images.half().cpu())
        return {"curves": self.curves.record()}

    def pictures(self) -> Tensor | None:
        return torch.stack(self.shown).float() if self.shown else None


def variety(images: Tensor) -> Tensor:
    """Return the share of the variance of `images` (N, C, H, W) that is between images, ().

    It is 0 where all are alike, and near 1 for noise: the mean over pixels of the variance over
    images, over the variance of all values of a channel, on average.
    """
    between = images.var(0, correction=0).mean(dim=(1, 2))
    all_ = images.var(dim=(0, 2, 3), correction=0)
    return (between / all_.clamp(min=1e-12)).mean()
