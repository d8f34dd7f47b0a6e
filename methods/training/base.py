"""What a method that trains is: one weight set at several bit-widths, a cell looks at one."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method
from methods.identity import identifying
from methods.training.fresh import drawn_anew
from methods.training.schedule import Schedule
from methods.training.strategy import Strategy
from models.errors import BenchError
from models.qat.conversion import make_quantizable
from models.qat.network import set_bits
from models.qat.spec import LEARNED_BITS, QatSpec
from models.quantize.identity import identity
from models.quantize.spec import QuantSpec

FINE_TUNING = Schedule(epochs=2, lr=0.05, weight_decay=1e-4, warmup=0.1, label_smoothing=0.0)
"""The schedule of `conf/schedule/digits.yaml`: minutes on a CPU, from trained weights."""

StateDict = Mapping[str, Tensor]
"""Of a network, trained."""

RealImages = Callable[[int], Tensor]
"""Gives n preprocessed training images, (n, C, H, W)."""


@dataclass(frozen=True)
class TrainedMethod(Method):
    """A network trained while it is quantized; a cell evaluates it at one of its bit-widths.

    images: training images looked at before training, for where ranges and clips start.
    bits: the bit-widths that share the weights, descending; a cell is W = A = one of them.
    init: `pretrained` starts from the weights of the cell's model, `scratch` from new ones.
    qat: the quantizers. schedule: optimiser, learning rate, augmentation.

    prescribed: what the method demands of `qat`; it is what tells it from its neighbours.
    least_bits: how many bit-widths it needs.
    """

    needs_real_images = True
    prescribed: ClassVar[Mapping[str, Any]] = {}
    least_bits: ClassVar[int] = 1

    images: int = 256
    bits: tuple[int, ...] = (8, 6, 4, 2)
    init: Literal["pretrained", "scratch"] = "pretrained"
    qat: QatSpec = field(default_factory=QatSpec)
    schedule: Schedule = FINE_TUNING

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits or self.least_bits:
            self.qat.check_bits(self.bits)
        if len(self.bits) < self.least_bits:
            raise ValueError(
                f"bits={list(self.bits)}; {self.name} needs {self.least_bits} bit-widths or more: "
                "each but the highest learns from a higher one"
            )
        for key in ("weight_quantizer", "activation_quantizer"):
            quantizer = getattr(self.qat, key)
            if not self.chooses_bits and quantizer in LEARNED_BITS:
                raise ValueError(
                    f"qat.{key}={quantizer} learns its bits and is of method "
                    f"{LEARNED_BITS[quantizer]} alone; give another"
                )
        for key, value in self.prescribed.items():
            if getattr(self.qat, key) != value:
                raise ValueError(
                    f"qat.{key}={getattr(self.qat, key)!r}; with anything but {value!r} it is "
                    f"another method than {self.name}"
                )

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless the method trains a network that `spec` can be a cell of."""
        if spec.w_bits != spec.a_bits or spec.w_bits not in self.usable_bits:
            usable = ", ".join(f"W{bits}A{bits}" for bits in self.usable_bits)
            raise BenchError(
                f"method {self.name} is used at {usable}, "
                f"not at W{spec.w_bits}A{spec.a_bits}; set quant.w_bits and a_bits, or method.bits"
            )
        self.check_recipe(spec)

    def check_recipe(self, spec: QuantSpec) -> None:
        """Raise BenchError where `spec` says more than bits, which `qat` says here."""
        if identity(spec) != identity(QuantSpec(spec.w_bits, spec.a_bits)):
            raise BenchError(
                f"recipe= and quant.* but the bits have no effect on method {self.name}, whose "
                "quantizers are method.qat.*; leave the recipe at its default"
            )

    @property
    def usable_bits(self) -> tuple[int, ...]:
        return self.bits

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The phases of the training, one after the other; most methods have one."""
        return (self.schedule,)

    def together(self, quant: QuantSpec) -> tuple[int, ...]:
        """Return the bit-widths of the training that a cell with `quant` looks at."""
        return self.bits

    def training_spec(self, quant: QuantSpec) -> QatSpec:
        """Return the quantizers of the training that a cell with `quant` looks at."""
        return self.qat

    @property
    def strategy_options(self) -> dict[str, Any]:
        """What `strategy` depends on besides the network, the bits and the schedule."""
        return {}

    def identity_of_training(self, quant: QuantSpec) -> dict[str, Any]:
        """Return what the training behind a cell with `quant` depends on, of the method.

        Methods whose trainings are equal here share them; one from outside this project shares with
        none but its own class. The version is that of `Method.version`, where it is not the first.
        """
        cls = type(self)
        foreign = {"class": f"{cls.__module__}:{cls.__qualname__}"}
        parameters = {
            **({} if cls.__module__.startswith("methods.") else foreign),
            **({} if self.version == 1 else {"version": self.version}),
            "strategy": self.strategy_class.__name__,
            **self.strategy_options,
            "bits": list(self.together(quant)),
            "qat": asdict(self.training_spec(quant)),
            "schedule": asdict(self.schedule),
            "images": self.images,
            "init": self.init,
        }
        return identifying(parameters)

    @property
    @abstractmethod
    def strategy_class(self) -> type[Strategy]: ...

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        """Return how a step treats the bit-widths of `network`, what `trainable` returned.

        teacher: the float network that it was made of; not to be changed.
        """
        smoothing = self.schedule.label_smoothing
        return self.strategy_class(
            network, self.together(quant), smoothing, **self.strategy_options
        )

    @property
    def unshareable(self) -> str | None:
        """Why several processes would not train what one does, where the method is the reason."""
        return None

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        """Return what is trained for a cell with `quant`: a copy of `network`, quantizable.

        images: (N, C, H, W) normalised, what `calibrate` returned. generator: for new weights.
        """
        if self.init == "scratch":
            network = drawn_anew(network, generator)
        quantizable = make_quantizable(
            network, self.together(quant), self.training_spec(quant), images
        )
        return quantizable.to(memory_format=torch.channels_last).train()

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        """Return a quantizable network with the trained `state`, at the bits of `quant`, for use.

        network: the float network that training started from. images: as for `trainable`.
        real_images: gives n more training images.
        """
        quantizable = make_quantizable(
            network, self.together(quant), self.training_spec(quant), images
        )
        quantizable.load_state_dict(dict(state))
        set_bits(quantizable, int(quant.w_bits))
        return quantizable.to(memory_format=torch.channels_last).eval()

    def warnings(
        self, network: nn.Module, quant: QuantSpec, history: list[dict[str, Any]]
    ) -> list[str]:
        """Return a line on each thing that a reader must know of a training.

        network: what `used_at` returned. history: one record an epoch.
        """
        return []

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(context.real_images(self.images))


def float_spec(spec: QatSpec) -> QatSpec:
    """Return `spec` with nothing quantized at 32 bits, first and last layer included."""
    return replace(spec, first_bits=None, last_bits=None)
