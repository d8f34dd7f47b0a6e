"""Bayesian Bits: bit-widths and pruning chosen by gates that are trained with the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.training.base import FINE_TUNING, RealImages, StateDict, TrainedMethod
from methods.training.curves import Curves
from methods.training.schedule import Schedule
from methods.training.strategy import Moment, Strategy
from methods.training.surroundings import to_device
from models.errors import BenchError
from models.qat.conversion import make_quantizable
from models.qat.gated import WIDTHS
from models.qat.gated_network import (
    Start,
    check_ranges,
    gated_quantizers,
    layer_gates,
    mean_probabilities,
    prune,
    start,
)
from models.qat.network import set_bits
from models.qat.spec import QatSpec
from models.quantize.identity import identity
from models.quantize.spec import MIXED, QuantSpec

SHORT = replace(FINE_TUNING, epochs=6, optimizer="adam", lr=1e-3, weight_decay=0.0, warmup=0.0)
"""Of the gates: minutes on a CPU, from trained weights."""


class Gating(Strategy):
    """Cross-entropy of a network behind gates, and their prior; then with the gates as they are.

    In the first phase each step draws all gates anew, and the loss has mu times the sum of what
    the quantizers are expected to cost (`GatedQuantizer.price`). Gates have an Adam of their own at
    a constant rate. In the second phase gates are open or shut, by the threshold, and the rest is
    trained on.
    """

    def __init__(
        self, network: nn.Module, bits: Sequence[int], smoothing: float, mu: float, rate: float
    ) -> None:
        super().__init__(network, bits, smoothing)
        self.mu = mu
        self.gated = gated_quantizers(network)
        self.quantizers = [each.quantizer for each in self.gated]
        phis = [p for q in self.quantizers for p in (q.phi, q.phi_channels) if p is not None]
        self.phis = [phi for phi in phis if phi.numel()]
        self.adam = torch.optim.Adam(self.phis, lr=rate)
        self.curves = Curves()

    def begin(self, phase: int) -> None:
        for phi in self.phis:
            phi.requires_grad_(phase == 0)

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        if moment.phase > 0:
            if moment.step == 0:
                prune(self.network, images[:1])
            loss: Tensor = self.hard_loss(self.network(images), targets)
            loss.backward()
            return loss.detach()
        self._draw(moment.generator)
        loss = self.hard_loss(self.network(images), targets)
        prior = torch.stack([quantizer.price() for quantizer in self.quantizers]).sum()
        total = loss + self.mu * prior
        total.backward()
        self._draw(None)
        self.curves.note(mean_probabilities(self.gated) | {"prior": prior})
        return total.detach()

    def _draw(self, generator: torch.Generator | None) -> None:
        counts = [quantizer.gates for quantizer in self.quantizers]
        draws: Sequence[Tensor | None] = [None] * len(counts)
        if generator is not None:
            drawn = torch.rand(sum(counts), generator=generator)
            draws = to_device(drawn, self.phis[0].device).split(counts)
        for quantizer, draw in zip(self.quantizers, draws, strict=True):
            quantizer.draws = draw

    def before_update(self, moment: Moment) -> None:
        """Move the gates, and leave the rest to the optimiser of the schedule."""
        if moment.phase == 0:
            self.adam.step()
            self.adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "curves": self.curves.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        self.curves.restore(state["curves"])

    def record(self) -> dict[str, Any]:
        """Raises BenchError for a range that has collapsed."""
        check_ranges(self.network)
        curves = self.curves.record()
        return {"curves": curves, "gates": layer_gates(self.network)} if curves else {}


@dataclass(frozen=True)
class BayesianBits(TrainedMethod):
    """Each weight and each input gets 2, 4, 8, 16 or 32 bits, and output channels are pruned.

    bits: the widths that the gates choose among; each is double the next, the last is 2.
    mu: of the prior, which pulls gates shut by what their bits cost in multiplications.
    gates: where phi of the gates starts, of each width in ascending order; 2 has none.
    gate_rate: learning rate of the gates.
    pruning: whether output channels have gates, of all layers but the last.
    finetuning_epochs, finetuning_lr: of the training with fixed gates; 0 epochs for none.
    variant: `release`: gates are shut for good at phi of -2 or less, and ranges start from two
        images and the largest value, not the largest magnitude; `paper`: neither.

    Source: van Baalen et al., "Bayesian Bits: Unifying Quantization and Pruning" (NeurIPS 2020),
    and its release. Inputs of layers are quantized, images and logits are not. BatchNorm stays
    beside the weights, where the release folds it into them.
    """

    name = "bayesian_bits"
    chooses_bits = True
    strategy_class = Gating
    prescribed: ClassVar[dict[str, Any]] = {
        "weight_quantizer": "gated",
        "activation_quantizer": "gated",
        "first_bits": None,
        "last_bits": None,
        "batchnorm": "shared",
        "granularity": "tensor",
        "weight_surrogate": "ste",
        "activation_surrogate": "ste",
        "shortcuts": "quantized",
        "learned": True,
    }
    bibtex = """@inproceedings{vanbaalen2020bayesian,
  title={Bayesian Bits: Unifying Quantization and Pruning},
  author={van Baalen, Mart and Louizos, Christos and Nagel, Markus and Amjad, Rana Ali and
    Wang, Ying and Blankevoort, Tijmen and Welling, Max},
  booktitle={NeurIPS},
  year={2020}
}"""

    bits: tuple[int, ...] = (32, 16, 8, 4, 2)
    qat: QatSpec = field(
        default_factory=lambda: QatSpec(
            weight_quantizer="gated",
            activation_quantizer="gated",
            first_bits=None,
            last_bits=None,
            batchnorm="shared",
        )
    )
    schedule: Schedule = SHORT
    mu: float = 1e-3
    gates: tuple[float, ...] = (6.0, 6.0, -6.0, -6.0)
    gate_rate: float = 0.05
    pruning: bool = True
    finetuning_epochs: int = 2
    finetuning_lr: float = 3e-4
    variant: Literal["release", "paper"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mu", "gate_rate", "finetuning_lr"):
            least = "0 or more" if name == "mu" else "a number above 0"
            value = getattr(self, name)
            if not (0 <= value < math.inf) or (value == 0 and name != "mu"):
                raise ValueError(f"{name}={value}; give {least}")
        if self.finetuning_epochs < 0:
            raise ValueError(f"finetuning_epochs={self.finetuning_epochs}; give 0 or more")
        if self.bits != WIDTHS[-len(self.bits) :]:
            raise ValueError(
                f"bits={list(self.bits)}; residuals double their width from 2: give "
                f"{list(WIDTHS)}, or that without some of the first"
            )
        if len(self.gates) != len(self.bits) - 1 or not all(map(math.isfinite, self.gates)):
            raise ValueError(
                f"gates={list(self.gates)}; give {len(self.bits) - 1} numbers, one for each of the "
                f"widths {list(self.bits[-2::-1])}"
            )

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless all bits are left to the method, and nothing else is said."""
        if (spec.w_bits, spec.a_bits) != (MIXED, MIXED):
            raise BenchError(
                f"method {self.name} chooses the bits of weights and activations, and "
                f"W{spec.w_bits}A{spec.a_bits} is asked for; give quant=mixed_all"
            )
        if spec.limits:
            raise BenchError(
                f"method {self.name} has no budget, and quant.{next(iter(spec.limits))} is given; "
                "leave it out: method.mu says how much bits cost"
            )
        if identity(spec) != identity(QuantSpec(MIXED, MIXED)):
            raise BenchError(
                f"recipe= and quant.* but the bits have no effect on method {self.name}, whose "
                "quantizers are method.qat.*; leave the recipe at its default"
            )

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        if not self.finetuning_epochs:
            return (self.schedule,)
        rest = replace(
            self.schedule, epochs=self.finetuning_epochs, lr=self.finetuning_lr, warmup=0.0
        )
        return self.schedule, replace(rest, decay="cosine")

    @property
    def strategy_options(self) -> dict[str, Any]:
        own = ("mu", "gates", "gate_rate", "pruning", "finetuning_epochs", "finetuning_lr")
        return {name: getattr(self, name) for name in (*own, "variant")}

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        return Gating(network, self.bits, self.schedule.label_smoothing, self.mu, self.gate_rate)

    def _seen(self, images: Tensor) -> Tensor:
        return images[:2] if self.variant == "release" else images

    def _start(self, made: nn.Module, images: Tensor) -> None:
        set_bits(made, self.bits[-1])  # a name: gates choose
        where = Start(self.gates, self.pruning, release=self.variant == "release")
        start(made, self._seen(images), where)

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        made = super().trainable(network, quant, self._seen(images), generator)
        self._start(made, images)
        return made

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        """Raises BenchError where gates leave a network that gives every image the same."""
        made = make_quantizable(network, self.bits, self.qat, self._seen(images))
        self._start(made, images)
        made.load_state_dict(dict(state))
        made = made.to(memory_format=torch.channels_last).eval()
        prune(made, images[:1])
        return made

    def warnings(
        self, network: nn.Module, quant: QuantSpec, history: list[dict[str, Any]]
    ) -> list[str]:
        empty = sorted(
            {
                each.layer
                for each in gated_quantizers(network)
                if (kept := each.quantizer.kept()) is not None and not bool(kept.any())
            }
        )
        if not empty:
            return []
        named = ", ".join(map(repr, empty[:3])) + (", ..." if len(empty) > 3 else "")
        return [f"all output channels of {len(empty)} layers are pruned: {named}"]
