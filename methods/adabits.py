"""AdaBits: BatchNorm and clipping levels private to each bit-width."""

from dataclasses import dataclass
from typing import Any, ClassVar

from methods.training.base import TrainedMethod
from methods.training.strategy import HardLabels


@dataclass(frozen=True)
class AdaBits(TrainedMethod):
    """Joint training with switchable BatchNorm and switchable clipping levels of PACT.

    Source: Jin et al., "AdaBits: Neural Network Quantization with Adaptive Bit-Widths" (CVPR 2020),
    section 3.3; the release, train.py: the cross-entropy of all bit-widths, one optimiser step. Its
    own quantizers are the preset qat=adabits, and its depthwise weights do not decay
    (schedule.depthwise_decay=false); docs/training.md says in what both differ still.
    """

    name = "adabits"
    strategy_class = HardLabels
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "private", "shared_clip": False}
    bibtex = """@inproceedings{jin2020adabits,
  title={AdaBits: Neural Network Quantization with Adaptive Bit-Widths},
  author={Jin, Qing and Yang, Linjie and Liao, Zhenyu},
  booktitle={CVPR},
  year={2020}
}"""
