"""QDrop (Wei et al., ICLR 2022): blocks learned with activations that are quantized at random."""

from dataclasses import dataclass

from torch import Tensor

from models.quantize.rounding.block import BlockRounding, Course, Task, learn
from models.quantize.rounding.soft import SoftWeights
from models.quantize.rounding.steps import LearnedSteps


@dataclass(frozen=True)
class QDrop(BlockRounding):
    """Weights and activation steps of a block at once, while quantization is dropped at random.

    Each value of the block's input is that of the float network with the probability `drop`, else
    that of the network whose earlier blocks are quantized; each value inside passes unquantized
    with the same probability. Targets are those of the float network. Without quantized
    activations only inputs are dropped.

    The release (wimh966/QDrop) takes 20,000 steps at 0.001 on 32 images, those of activations at
    0.00004, and for MobileNetV2 a `penalty` of 0.1.
    """

    name = "qdrop"
    version = 2
    joint = True

    drop: float = 0.5

    def learn_weights(self, task: Task) -> dict[str, Tensor]:
        soft = SoftWeights(task.weights, task.formats, self.rate) if task.weights else None
        steps = LearnedSteps(task.quantizers, self.step_rate, self.drop, task.draws)
        learn(task, Course(self.iterations, self.batch, self.penalty, self.drop), soft, steps)
        steps.keep()
        return {} if soft is None else soft.harden()
