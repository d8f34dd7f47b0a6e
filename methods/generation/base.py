"""A method that trains on the images of a generator, which learns beside it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.generation.statistics import Matched, StatisticsLoss
from methods.generation.strategy import VARIETY, Constants, Generative
from methods.training.base import RealImages, StateDict
from methods.training.own_bits import OwnBits
from methods.training.schedule import Schedule
from methods.training.strategy import Strategy
from models.networks.generators import RELEASE_EPSILON, check_size
from models.qat.network import freeze_statistics
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec

GENERATION = Schedule(
    epochs=30, lr=1e-4, weight_decay=1e-4, warmup=0.0, label_smoothing=0.0, augment="none"
)
"""The schedule of `conf/schedule/generation.yaml`: 600 steps with the default `steps`."""

ZEROQ_EMA = QatSpec(
    weight_quantizer="affine",
    activation_quantizer="affine_ema",
    granularity="channel",
    first_bits=None,
    last_bits=None,
    batchnorm="shared",
    sites="relu",
)
"""The quantizers of `conf/qat/zeroq_ema.yaml`."""

COLLAPSED = 0.01
"""Share of the variance between images below which a generator makes one image only."""

SHRUNK = 0.1
"""The same, as a share of what it was in the first epoch."""

_START = 64  # images at most that the network is looked at with

# What a parameter that is left at None stands for.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "paper": {"divergence": "by_image", "generator_epsilon": 1e-5},
    "release": {"divergence": "by_value", "generator_epsilon": RELEASE_EPSILON},
}
_RANGES = {"paper": "corrected", "release": "fed_back"}


@dataclass(frozen=True)
class GeneratedTraining(OwnBits):
    """Quantization-aware training on what a generator makes; no training image is seen.

    Source: GDFQ (Xu et al., ECCV 2020) and its released code; see `methods.generation.strategy`.

    variant: `paper`, or `release` with what its code does otherwise: the KL divergence is divided
        by images x classes, the corrected running range of an activation is fed back, two
        BatchNorms of the generator have an epsilon of 0.8.
    images: of N(0, 1), that the network is looked at with before training.
    bits: the bit-widths of weights that it may be asked for; activations may have others.
    schedule: of the student; `epochs` of `steps` batches each, the warm-up among them.
    steps: of an epoch; the release has 200.
    classes: that are drawn, None for as many as the network has outputs.
    latent: numbers of noise an image is made of.
    generator_rate: where the generator's learning rate (Adam) starts; it falls as the student's.
    warmup_epochs: in which the generator learns alone. range_epochs: in which the ranges of
        activations follow the batches; then they stay. In the release 4 (CIFAR) or 50 (ImageNet),
        and 4.
    statistics_weight: of the BatchNorm statistics in the generator's loss.
    distillation, temperature: of the teacher's prediction in the student's loss.
    divergence: `by_image`: the mean over images; `by_value`: divided by the classes too.
    generator_epsilon: of two BatchNorms of the generator.
    """

    needs_real_images = False
    strategy_class = Generative

    images: int = 64
    variant: Literal["paper", "release"] = "paper"
    bits: tuple[int, ...] = (8, 6, 4, 3, 2)
    qat: QatSpec = ZEROQ_EMA
    schedule: Schedule = GENERATION
    steps: int = 20
    classes: int | None = None
    latent: int = 100
    generator_rate: float = 1e-3
    warmup_epochs: int = 4
    range_epochs: int = 4
    statistics_weight: float = 0.1
    distillation: float = 1.0
    temperature: float = 20.0
    divergence: Literal["by_image", "by_value"] | None = None
    generator_epsilon: float | None = None

    def __post_init__(self) -> None:
        for name, default in _DEFAULTS[self.variant].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        averages = self.qat.activation_quantizer == "affine_ema"
        if averages and self.qat.range_average is None:
            ranges = _RANGES[self.variant]
            object.__setattr__(self, "qat", replace(self.qat, range_average=ranges))
        super().__post_init__()
        accepted = {
            "steps": self.steps >= 1,
            "latent": self.latent >= 1,
            "generator_rate": self.generator_rate > 0,
            "warmup_epochs": self.warmup_epochs >= 0,
            "range_epochs": self.range_epochs >= 1,
            "statistics_weight": self.statistics_weight >= 0,
            "distillation": self.distillation >= 0,
            "temperature": self.temperature > 0,
            "generator_epsilon": (self.generator_epsilon or 0) > 0,
        }
        for name, fine in accepted.items():
            if not fine:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give more")
        if self.warmup_epochs >= self.schedule.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leave the network none of the "
                f"{self.schedule.epochs} epochs to learn in; lower them, or raise schedule.epochs"
            )
        if self.schedule.augment != "none":
            raise ValueError(
                f"schedule.augment={self.schedule.augment}; images are made anew each step: give "
                "none"
            )

    def not_applicable(self, network: nn.Module) -> str | None:
        return None if batchnorms(network) else NO_STATISTICS

    @property
    def unshareable(self) -> str | None:
        return f"the generator of {self.name} normalises by the batch of one process"

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        check_size(context.input_shape)
        shape = (self.images, *context.input_shape)
        return Calibration(torch.randn(shape, generator=context.generator("synthesis")))

    def statistics_loss(self, teacher: nn.Module, images: Tensor) -> StatisticsLoss:
        """Return what statistics cost the generator; images: what `calibrate` returned."""
        return Matched(teacher, images[:1])

    @property
    def diversity(self) -> float:
        """The weight of how different the generator's images are to be."""
        return 0.0

    @property
    def constants(self) -> Constants:
        assert self.generator_epsilon is not None
        return Constants(
            schedule=self.schedule,
            steps=self.steps,
            classes=self.classes,
            latent=self.latent,
            generator_rate=self.generator_rate,
            generator_epsilon=self.generator_epsilon,
            warmup_epochs=self.warmup_epochs,
            range_epochs=self.range_epochs,
            statistics_weight=self.statistics_weight,
            diversity_weight=self.diversity,
            distillation=self.distillation,
            temperature=self.temperature,
            by_value=self.divergence == "by_value",
        )

    @property
    def strategy_options(self) -> dict[str, Any]:
        options = self.constants._asdict()
        del options["schedule"]  # which the training has
        return options

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        bits = self.together(quant)
        return Generative(network, bits, teacher, self.constants, self.statistics_loss)

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        return freeze_statistics(super().trainable(network, quant, images[:_START], generator))

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        return super().used_at(network, state, quant, images[:_START], real_images)

    def warnings(
        self, network: nn.Module, quant: QuantSpec, history: list[dict[str, Any]]
    ) -> list[str]:
        start, end = (_mean_variety(epoch) for epoch in (history[0], history[-1]))
        if end >= max(COLLAPSED, SHRUNK * start):
            return []
        return [
            f"the generator has collapsed: of the variance of its images only {end:.1e} is "
            f"between them, at the start {start:.1e}, they are all alike; lower "
            "method.generator_rate, or train longer"
        ]


def _mean_variety(epoch: dict[str, Any]) -> float:
    values: list[float] = epoch["curves"][VARIETY]
    return sum(values) / len(values)
