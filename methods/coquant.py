"""CoQuant: each bit-width chooses its teacher and borrows blocks of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from methods.training.base import TrainedMethod
from methods.training.strategy import Moment, Strategy, divergence
from models.qat.batchnorm import statistics_kept
from models.qat.network import blocks, quantized_layers, set_bits
from models.quantize.spec import QuantSpec


class Constants(NamedTuple):
    """Those of `Collaborative`, as the parameters of `CoQuant` describe them."""

    distance_weight: float
    keep_first: float
    keep_last: float
    swap_until: float
    distillation: float
    temperature: float


class Collaborative(Strategy):
    """Selective teachers and block swapping, the bit-widths in descending order.

    The highest bit-width learns the labels. Each other one, b, has the teacher i among the higher
    ones with the least H(y_i) + lambda sum_l mean |W_i^l - W_b^l|: H is the mean entropy of the
    teacher's prediction in nats, W^l the quantized weights of layer l, lambda grows linearly from
    0 to `distance_weight`. Each block l of b is the teacher's with probability 1 - p_l; p_l grows
    linearly from `keep_first` (first block) .. `keep_last` (last block) to 1 at the fraction
    `swap_until` of the training. The loss is that of the labels plus `distillation` times T^2
    KL(teacher || student) at temperature T.

    The scores of a step choose the teachers of the next one: reading them when they are computed
    would make the host wait for the device. A borrowed BatchNorm normalises by the batch and keeps
    the running statistics of its own network.
    """

    def __init__(
        self, network: nn.Module, bits: Sequence[int], smoothing: float, constants: Constants
    ) -> None:
        super().__init__(network, bits, smoothing)
        self.constants = constants
        self.blocks = blocks(network)
        self.layers = [m for m in quantized_layers(network).values() if m.fixed_bits is None]
        first, last = constants.keep_first, constants.keep_last
        depth = max(1, len(self.blocks) - 1)
        spread = [first + (last - first) * at / depth for at in range(depth + 1)]
        self.keep_from = spread[: len(self.blocks)]
        # Entropies by teacher, then distances by student and teacher; of the step before.
        pairs = len(self.bits) * (len(self.bits) - 1) // 2
        device = next(network.parameters()).device
        self.scores = torch.zeros(len(self.bits) - 1 + pairs, device=device)
        self.on_host = self.scores.cpu()
        self.ready: torch.cuda.Event | None = None
        self.counts = self._no_counts()
        self.lambda_now = 0.0
        self.keep_now = self.keep_from

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        self.lambda_now = self.constants.distance_weight * moment.fraction
        until = self.constants.swap_until
        grown = min(1.0, moment.fraction / until) if until else 1.0
        self.keep_now = [start + (1 - start) * grown for start in self.keep_from]
        teachers = self._teachers(moment.step)
        total = torch.zeros((), device=images.device)
        predictions: dict[int, Tensor] = {}
        for bits in self.bits:
            teacher = teachers.get(bits)
            logits = self._pass(images, bits, teacher, moment.generator)
            loss = self.hard_loss(logits, targets)
            if teacher is not None:
                of_teacher = predictions[teacher]
                taught = divergence(logits, of_teacher, self.constants.temperature)
                loss = loss + self.constants.distillation * taught
            loss.backward()
            predictions[bits] = logits.detach()
            total += loss.detach()
        self._look(predictions)
        return total / len(self.bits)

    def _teachers(self, step: int) -> dict[int, int]:
        """Return the teacher of each bit-width but the highest; at first the highest."""
        if self.ready is not None:
            self.ready.synchronize()  # of the step before: long done
        entropies = self.on_host[: len(self.bits) - 1].tolist()
        distances = iter(self.on_host[len(self.bits) - 1 :].tolist())
        chosen = {}
        for at, bits in enumerate(self.bits[1:], start=1):
            scores = [entropies[i] + self.lambda_now * next(distances) for i in range(at)]
            teacher = self.bits[scores.index(min(scores))] if step else self.bits[0]
            chosen[bits] = teacher
            self.counts[str(bits)][str(teacher)] += 1
        return chosen

    def _pass(
        self, images: Tensor, bits: int, teacher: int | None, generator: torch.Generator
    ) -> Tensor:
        bits_of = {"": bits}
        if teacher is not None:
            keep = torch.rand(len(self.blocks), generator=generator).tolist()
            pairs = zip(self.blocks, keep, self.keep_now, strict=True)
            bits_of |= {block: teacher for block, draw, p in pairs if draw >= p}
        set_bits(self.network, bits_of)
        borrowed = [self.network.get_submodule(block) for block in bits_of if block]
        with statistics_kept(borrowed):
            logits: Tensor = self.network(images)
        return logits

    @torch.no_grad()
    def _look(self, predictions: dict[int, Tensor]) -> None:
        """Score the teachers for the next step; the numbers cross to the host meanwhile."""
        entropies = [_entropy(predictions[bits]) for bits in self.bits[:-1]]
        distances = [
            self._distance(teacher, bits)
            for at, bits in enumerate(self.bits[1:], start=1)
            for teacher in self.bits[:at]
        ]
        self.scores = torch.stack([*entropies, *distances]).float()
        self.average([self.scores])
        if self.scores.device.type == "cuda":
            self.on_host = self.scores.to("cpu", non_blocking=True)
            self.ready = torch.cuda.Event()
            self.ready.record()
        else:
            self.on_host = self.scores

    def _distance(self, teacher: int, student: int) -> Tensor:
        weights = [
            (layer.quantized_weight(teacher), layer.quantized_weight(student))
            for layer in self.layers
        ]
        return torch.stack([(a - b).abs().mean() for a, b in weights]).sum()

    def state(self) -> dict[str, Any]:
        # The key is that of earlier checkpoints.
        return {"seen": self.scores, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.scores = state["seen"].to(self.scores.device)
        self.on_host = self.scores.cpu()
        self.counts = state.get("counts", self._no_counts())

    def record(self) -> dict[str, Any]:
        record = {"teachers": self.counts, "lambda": self.lambda_now, "keep": self.keep_now}
        self.counts = self._no_counts()
        return record

    def _no_counts(self) -> dict[str, dict[str, int]]:
        students = enumerate(self.bits[1:], start=1)
        return {str(bits): {str(t): 0 for t in self.bits[:at]} for at, bits in students}


def _entropy(logits: Tensor) -> Tensor:
    log = logits.log_softmax(dim=1)
    return -(log.exp() * log).sum(dim=1).mean()


@dataclass(frozen=True)
class CoQuant(TrainedMethod):
    """Collaborative knowledge transfer between the bit-widths of one weight set.

    distance_weight: lambda at the end; it grows linearly from 0.
    keep_first, keep_last: p_l of the first and the last block at the start, linear between them.
    swap_until: fraction of the training at which every p_l has become 1; 0 for no swapping.
    distillation: weight of the teacher's prediction beside the labels. temperature: of both.

    Source: Sun et al., "Improved Techniques for Quantizing Deep Networks with Adaptive Bit-Widths"
    (WACV 2024; arXiv 2103.01435), teacher selection and block swapping. Its code is not public. The
    order of the passes, all constants, the mean in the distance, private BatchNorm and the
    quantizers are choices made here.
    """

    name = "coquant"
    strategy_class = Collaborative
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "private"}
    least_bits = 2
    bibtex = """@inproceedings{sun2024improved,
  title={Improved Techniques for Quantizing Deep Networks with Adaptive Bit-Widths},
  author={Sun, Ximeng and Panda, Rameswar and Chen, Chun-Fu and Wang, Naigang and Pan, Bowen and
    Oliva, Aude and Feris, Rogerio and Saenko, Kate},
  booktitle={WACV},
  year={2024}
}"""

    distance_weight: float = 1.0
    keep_first: float = 0.5
    keep_last: float = 1.0
    swap_until: float = 0.5
    distillation: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least, most in (
            ("distance_weight", 0, float("inf")),
            ("keep_first", 0, 1),
            ("keep_last", 0, 1),
            ("swap_until", 0, 1),
            ("distillation", 0, float("inf")),
        ):
            if not least <= getattr(self, key) <= most:
                raise ValueError(f"{key}={getattr(self, key)}; give {least}..{most}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature}; give a positive number")

    @property
    def constants(self) -> Constants:
        return Constants(*(getattr(self, name) for name in Constants._fields))

    @property
    def strategy_options(self) -> dict[str, Any]:
        return self.constants._asdict()

    def strategy(self, network: nn.Module, quant: QuantSpec, teacher: nn.Module) -> Strategy:
        smoothing = self.schedule.label_smoothing
        return self.strategy_class(network, self.together(quant), smoothing, self.constants)
