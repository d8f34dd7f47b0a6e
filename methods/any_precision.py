"""Any-Precision: each bit-width learns from the next higher one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.training.base import TrainedMethod
from methods.training.strategy import Moment, Strategy, soft_cross_entropy
from models.qat.network import set_bits


class Recursive(Strategy):
    """The highest bit-width learns the labels, each other one the prediction of the one above."""

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        total = torch.zeros((), device=images.device)
        above: Tensor | None = None
        for bits in self.bits:
            set_bits(self.network, bits)
            logits = self.network(images)
            if above is None:
                loss = self.hard_loss(logits, targets)
            else:
                loss = soft_cross_entropy(logits, above)
            loss.backward()
            total += loss.detach()
            above = logits.detach()
        return total / len(self.bits)


@dataclass(frozen=True)
class AnyPrecision(TrainedMethod):
    """Recursive distillation with BatchNorm private to each bit-width.

    Source: Yu et al., "Any-Precision Deep Neural Networks" (AAAI 2021), section 3; the release,
    train.py: soft cross-entropy with the detached softmax of the next higher bit-width alone.
    Its own quantizers are the preset qat=any_precision; docs/training.md says in what it differs.
    """

    name = "any_precision"
    strategy_class = Recursive
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "private"}
    least_bits = 2
    bibtex = """@inproceedings{yu2021any,
  title={Any-Precision Deep Neural Networks},
  author={Yu, Haichao and Li, Haoxiang and Shi, Humphrey and Huang, Thomas S. and Hua, Gang},
  booktitle={AAAI},
  year={2021}
}"""
