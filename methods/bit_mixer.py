"""Bit-Mixer: every layer at a bit-width of its own, drawn anew at each pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.training.base import TrainedMethod
from methods.training.strategy import Moment, Strategy
from models.qat.network import blocks, quantized_layers, set_bits
from models.qat.spec import QatSpec


class RandomBits(Strategy):
    """Cross-entropy at random bit-widths: of the network, then of its blocks, then of its layers.

    stages: the fractions of the training at which blocks and then layers begin to differ.
    A step has as many passes as there are bit-widths, so that it costs what a step of the others
    does.
    """

    def __init__(
        self, network: nn.Module, bits: Sequence[int], smoothing: float, stages: tuple[float, ...]
    ) -> None:
        super().__init__(network, bits, smoothing)
        self.stages = stages
        self.parts = [[""], blocks(network), list(quantized_layers(network))]

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        total = torch.zeros((), device=images.device)
        parts = self.parts[sum(moment.fraction >= start for start in self.stages)]
        for _ in self.bits:
            drawn = torch.randint(len(self.bits), (len(parts),), generator=moment.generator)
            bits_of = {part: self.bits[i] for part, i in zip(parts, drawn.tolist(), strict=True)}
            set_bits(self.network, bits_of)
            loss = self.hard_loss(self.network(images), targets)
            loss.backward()
            total += loss.detach()
        return total / len(self.bits)


@dataclass(frozen=True)
class BitMixer(TrainedMethod):
    """One network whose layers work at any mixture of bit-widths, evaluated at one for all.

    stages: see `RandomBits`.

    Source: Bulat and Tzimiropoulos, "Bit-Mixer: Mixed-precision networks with runtime bit-width
    selection" (ICCV 2021), as others describe it: bit-widths drawn at random for each layer,
    training in stages, BatchNorm by the bits of a layer and of the one before. Its code is not
    public; the stages, their lengths and the number of passes are choices made here.
    """

    name = "bit_mixer"
    strategy_class = RandomBits
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "transitional"}
    least_bits = 2
    bibtex = """@inproceedings{bulat2021bit,
  title={Bit-Mixer: Mixed-Precision Networks with Runtime Bit-Width Selection},
  author={Bulat, Adrian and Tzimiropoulos, Georgios},
  booktitle={ICCV},
  year={2021}
}"""

    qat: QatSpec = field(default_factory=lambda: QatSpec(batchnorm="transitional"))
    stages: tuple[float, float] = (1 / 3, 2 / 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.stages[0] <= self.stages[1] <= 1:
            raise ValueError(f"stages={list(self.stages)}; give two fractions 0..1, ascending")

    @property
    def strategy_options(self) -> dict[str, Any]:
        return {"stages": self.stages}
