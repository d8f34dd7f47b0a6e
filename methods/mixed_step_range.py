"""Mixed precision that is trained: step and range of each grid, and with them its bits."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.training.base import FINE_TUNING, RealImages, StateDict, TrainedMethod
from methods.training.fresh import drawn_anew
from methods.training.schedule import Schedule
from methods.training.size_penalty import Constants, SizePenalty
from methods.training.sizes import MIB_BITS, begin, check_limits, targets_of
from methods.training.strategy import Strategy
from models.errors import BenchError
from models.qat.conversion import make_quantizable
from models.qat.spec import QatSpec
from models.quantize.budget import MISSED
from models.quantize.identity import identity
from models.quantize.spec import FLOAT_BITS, MIXED, QuantSpec

PHASES = ("pretraining", "mixed", "finetuning")
QUANTIZERS = QatSpec(
    weight_quantizer="mixed_step_range",
    activation_quantizer="mixed_step_range",
    delta=5e-3,
    first_bits=None,
    last_bits=None,
    quantize_images=True,
    image_bits=8,
    batchnorm="shared",
    signed_inputs="depthwise",
)
"""Those of `conf/qat/mixed_step_range.yaml`."""

_ANY = 8  # under which grids are kept whose bits are learned
_NAMED = 3


@dataclass(frozen=True)
class MixedStepRange(TrainedMethod):
    """Bits of weights and activations that are trained under a penalty on their size.

    Three phases. `pretraining`: all at equal bits; `mixed`: with the penalty; `finetuning`: with
    the bits that were found. `schedule` is that of the second, and but for epochs and learning
    rates that of the others.

    bits: one number, where the bits start; none: two more than the whole part of the target.
    pretraining_epochs, finetuning_epochs: 0 for none. pretraining_lr, finetuning_lr: highest rates.
    learned_in: the phases in which steps and ranges learn.
    update_period: of how many steps one lets them learn. variant: `release` takes their gradients
        from the optimiser at the other steps, whose momentum still moves them; `paper` does not
        let them move.
    penalty: the weight of the squared excess of each size over its target, in penalty_unit: `kB` of
        8,000 bits, or the `target`. penalty_start: the factor on it at first; it rises linearly to
        1 within the fraction penalty_rise of the phase.
    labels, distillation: weights of the labels and of the prediction of the float network, at
        temperature, in the loss.

    Source: Schaefer et al., "Edge Inference with Fully Differentiable Quantized Mixed Precision
    Neural Networks" (WACV 2024) and their released code (examples/train_utils.py, train.py).
    `paper`, distillation and penalty_unit=target are additions.
    """

    name = "mixed_step_range"
    strategy_class = SizePenalty
    chooses_bits: ClassVar[bool] = True
    least_bits = 0
    prescribed: ClassVar[dict[str, Any]] = {
        "weight_quantizer": "mixed_step_range",
        "activation_quantizer": "mixed_step_range",
        "batchnorm": "shared",
        "learned": True,
    }

    bits: tuple[int, ...] = ()
    qat: QatSpec = QUANTIZERS
    schedule: Schedule = FINE_TUNING
    pretraining_epochs: int = 2
    pretraining_lr: float = 0.05
    finetuning_epochs: int = 2
    finetuning_lr: float = 0.05
    learned_in: tuple[Literal["pretraining", "mixed", "finetuning"], ...] = ("mixed",)
    update_period: int = 20
    variant: Literal["release", "paper"] = "release"
    penalty: float = 1e-4
    penalty_unit: Literal["kB", "target"] = "kB"
    penalty_start: float = 0.01
    penalty_rise: float = 0.5
    labels: float = 1.0
    distillation: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        accepted = {
            "bits": (len(self.bits) < 2, "one number, or none"),
            "pretraining_epochs": (self.pretraining_epochs >= 0, "0 or more"),
            "finetuning_epochs": (self.finetuning_epochs >= 0, "0 or more"),
            "update_period": (self.update_period >= 1, "1 or more"),
            "penalty": (self.penalty >= 0, "0 or more"),
            "penalty_start": (0 <= self.penalty_start <= 1, "0 to 1"),
            "penalty_rise": (0 <= self.penalty_rise <= 1, "0 to 1"),
            "labels": (self.labels >= 0, "0 or more"),
            "distillation": (self.labels + self.distillation > 0, "above 0, or labels"),
            "temperature": (self.temperature > 0, "above 0"),
        }
        for key, (fine, limits) in accepted.items():
            if not fine:
                raise ValueError(f"{key}={getattr(self, key)!r}; give {limits}")
        if self.distillation and self.init == "scratch":
            raise ValueError(f"distillation={self.distillation}; give init=pretrained with it")

    @property
    def phases(self) -> tuple[str, ...]:
        """The names of the phases that there are."""
        epochs = self.pretraining_epochs, self.schedule.epochs, self.finetuning_epochs
        return tuple(name for name, count in zip(PHASES, epochs, strict=True) if count)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        others = {
            "pretraining": (self.pretraining_epochs, self.pretraining_lr),
            "mixed": (self.schedule.epochs, self.schedule.lr),
            "finetuning": (self.finetuning_epochs, self.finetuning_lr),
        }
        rates = (others[name] for name in self.phases)
        return tuple(replace(self.schedule, epochs=epochs, lr=lr) for epochs, lr in rates)

    @property
    def constants(self) -> Constants:
        return Constants(*(getattr(self, name) for name in Constants._fields))

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless `spec` leaves bits open, limits their sizes and says no more."""
        if not spec.is_mixed:
            raise BenchError(
                f"method {self.name} learns bits; give quant.w_bits=mixed, quant.a_bits=mixed or "
                "both, as quant=mixed_all does"
            )
        if spec.w_bits == FLOAT_BITS:
            raise BenchError(
                f"method {self.name} learns bits of activations beside quantized weights, not "
                "beside quant.w_bits=32"
            )
        check_limits(spec)
        bare = QuantSpec(
            spec.w_bits,
            spec.a_bits,
            size_mb=spec.size_mb,
            mean_bits=spec.mean_bits,
            budget=spec.budget,
        )
        if identity(spec) != identity(bare):
            raise BenchError(
                f"recipe= and quant.* but bits and budget have no effect on method {self.name}, "
                "whose quantizers are method.qat.*; leave the recipe at its default"
            )

    def identity_of_training(self, quant: QuantSpec) -> dict[str, Any]:
        return super().identity_of_training(quant) | {
            **self.constants._asdict(),
            "start": list(self.bits),
            "quant": identity(quant),
            "schedules": [asdict(schedule) for schedule in self.schedules],
        }

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        targets = targets_of(network, quant.limits)
        smoothing = self.schedule.label_smoothing
        return SizePenalty(network, smoothing, teacher, self.constants, targets)

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        """Return a copy of `network` at equal bits, from which those of `quant` are learned.

        Raises BenchError for a budget that cannot be met, and for one that is met already.
        """
        if self.init == "scratch":
            network = drawn_anew(network, generator)
        made = self._quantizable(network, quant, images)
        begin(targets_of(made, quant.limits), self.bits[0] if self.bits else None)
        return made.train()

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        made = self._quantizable(network, quant, images)
        made.load_state_dict(dict(state))
        return made.eval()

    def _quantizable(self, network: nn.Module, quant: QuantSpec, images: Tensor) -> nn.Module:
        w_bits = _ANY if quant.w_bits == MIXED else int(quant.w_bits)
        a_bits = None if quant.a_bits == MIXED else int(quant.a_bits)
        made = make_quantizable(network, (w_bits,), self.qat, images, a_bits)
        return made.to(memory_format=torch.channels_last)

    def warnings(
        self, network: nn.Module, quant: QuantSpec, history: list[dict[str, Any]]
    ) -> list[str]:
        lines = []
        for target in targets_of(network, quant.limits):
            size = float(target.size().detach())
            if size > target.size_bits:
                lines.append(
                    f"{MISSED}: {target.shown} {size / MIB_BITS:.4g}, "
                    f"above the {target.size_bits / MIB_BITS:.4g} of quant.{target.typed()}"
                )
        if collapsed := history[-1].get("collapsed"):
            names = ", ".join(map(repr, list(collapsed)[:_NAMED]))
            more = f" and {len(collapsed) - _NAMED} more" if len(collapsed) > _NAMED else ""
            lines.append(f"the range has shrunk to the step in layer {names}{more}")
        return lines
