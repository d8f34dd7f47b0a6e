"""BRECQ (Li et al., ICLR 2021): the rounding of a block at once, then the steps of activations."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.quantize.rounding.block import BlockRounding, Course, Loss, Task, learn
from models.quantize.rounding.soft import SoftWeights
from models.quantize.rounding.steps import LearnedSteps


@dataclass(frozen=True)
class Brecq(BlockRounding):
    """AdaRound's rounding of all weights of a block, whichever brings its output nearest to float.

    Inputs are those of the network whose earlier blocks are rounded, targets those of the float
    network. Activations are float until all weights are rounded; then each block's steps are
    learned.

    Unlike the release (yhhhli/BRECQ), which looks at the first layer's rounding not at all, it is a
    block as others are. Its steps minimise |error|^2.4, here the squared error.

    The release takes 20,000 steps at 0.001 on 32 images, and 5,000 at 0.0004 for activations.

    loss: how errors are weighted; the release offers fisher and has mse as its default.
    step_iterations: steps a block for those of activations.
    step_inputs: the release learns them on what the float network gives.
    """

    name = "brecq"
    joint = False

    step_rate: float = 4e-4
    loss: Loss = "mse"
    step_iterations: int = 5_000
    step_inputs: Literal["float", "quantized"] = "float"

    @property
    def steps_of_activations(self) -> int:
        return self.step_iterations

    @property
    def weighting(self) -> Loss:
        return self.loss

    @property
    def inputs_of_steps(self) -> Literal["float", "quantized"]:
        return self.step_inputs

    def learn_weights(self, task: Task) -> dict[str, Tensor]:
        soft = SoftWeights(task.weights, task.formats, self.rate)
        course = Course(self.iterations, self.batch, self.penalty)
        learn(task, course, soft, LearnedSteps({}, self.step_rate))
        return soft.harden()

    def learn_steps(self, task: Task) -> None:
        steps = LearnedSteps(task.quantizers, self.step_rate)
        learn(task, Course(self.step_iterations, self.batch), None, steps)
        steps.keep()
