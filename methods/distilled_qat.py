"""Training on distilled images: a low-bit network learns what the float one makes of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method
from methods.registry import make_method
from methods.training.base import TrainedMethod
from methods.training.own_bits import OwnBits
from methods.training.schedule import Schedule
from methods.training.strategy import Moment, Strategy, divergence
from methods.training.surroundings import Examples, held
from models.errors import BenchError
from models.qat.network import freeze_statistics
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec

DISTILLATION = Schedule(
    epochs=100, lr=0.001, weight_decay=1e-4, warmup=0.1, label_smoothing=0.0, augment="none"
)
"""The schedule of `conf/schedule/distillation.yaml`: a few hundred steps."""


_BATCH = 64  # images that the teacher sees at once


class TaughtOnly(Strategy):
    """T^2 KL(teacher || student) at temperature T; no label is seen.

    The images are fixed, and their targets are the teacher's logits, which are computed once.
    """

    def __init__(
        self, network: nn.Module, bits: tuple[int, ...], teacher: nn.Module, temperature: float
    ) -> None:
        super().__init__(network, bits, smoothing=0.0)
        self.teacher, self.temperature = teacher, temperature

    @torch.no_grad()
    def examples(self, images: Tensor, generator: torch.Generator) -> Examples:
        logits = torch.cat([self.teacher(batch) for batch in images.split(_BATCH)])
        return Examples(held(images), logits, lambda inputs: inputs)

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        loss = divergence(self.network(images), targets, self.temperature)
        loss.backward()
        return loss.detach()


def _described(method: Method) -> dict[str, Any]:
    return {"name": method.name, **asdict(method)}


def _zeroq() -> dict[str, Any]:
    return _described(make_method({"name": "zeroq", "images": 256}))


@dataclass(frozen=True)
class DistilledQat(OwnBits):
    """Quantization-aware training on the images of a calibration method, with a float teacher.

    The images are made once and stay; so do the teacher's logits of them. No label and, unless
    `source` is `real`, no training image is seen.

    source: the method that makes the images, its `name` and its parameters. `real` is a control.
    images: how many, where it is not what `source` says.
    bits: the bit-widths of weights that it may be asked for; activations may have others.
    temperature: of the teacher's and the student's prediction.
    frozen_statistics: whether BatchNorm keeps the running statistics of the float network and
        normalises by them. Those of images that are no photographs may be others.

    Source: the fine-tuning of "The Knowledge Within" (Haroush et al., CVPR 2020) on images inverted
    from BatchNorm statistics, whose code is not public. Temperature, schedule and quantizers are
    choices made here.
    """

    name = "distilled_qat"
    needs_real_images = False
    strategy_class = TaughtOnly

    images: int | None = None  # type: ignore[assignment]
    bits: tuple[int, ...] = (8, 6, 4, 3, 2)
    qat: QatSpec = field(default_factory=lambda: QatSpec(batchnorm="shared"))
    schedule: Schedule = DISTILLATION
    source: Mapping[str, Any] = field(default_factory=_zeroq)
    temperature: float = 4.0
    frozen_statistics: bool = True

    def __post_init__(self) -> None:
        own = {} if self.images is None else {"images": self.images}
        made = _images_from({**self.source, **own})
        object.__setattr__(self, "images", made.images)
        object.__setattr__(self, "source", _described(made))
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}; give a number above 0")
        if self.schedule.augment != "none":
            raise ValueError(
                f"schedule.augment={self.schedule.augment}; the teacher looks once at each image, "
                "as it is: give none"
            )

    @cached_property
    def _image_method(self) -> Method:
        return make_method(self.source)

    @property
    def image_method(self) -> Method:
        return self._image_method

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"source": self.image_method.identity()}

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return self.image_method.calibrate(network, context)

    @property
    def strategy_options(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "frozen_statistics": self.frozen_statistics,
            "source": self.image_method.identity(),
        }

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        return TaughtOnly(network, self.together(quant), teacher, self.temperature)

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        quantizable = super().trainable(network, quant, images, generator)
        return freeze_statistics(quantizable) if self.frozen_statistics else quantizable


def _images_from(source: Mapping[str, Any]) -> Method:
    """Return the method that is called `source`, of which only the images are taken."""
    if "name" not in source:
        raise BenchError("method.source has no name; give that of a calibration method, as zeroq")
    try:
        method = make_method(source)
    except BenchError as error:
        raise BenchError(f"method.source: {error}") from error
    others = method.name == "float", method.chooses_bits, isinstance(method, TrainedMethod)
    if type(method).quantize is not Method.quantize or any(others):
        raise BenchError(
            f"method.source.name={method.name} does more than make images; give a method such as "
            "zeroq, dsg, synthetic, knowledge_within, gaussian or real"
        )
    return method
