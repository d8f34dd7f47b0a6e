"""What a way of rounding whole blocks is, what it is given, and the loop that all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import ActivationQuantizer
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.dropped import kept
from models.quantize.rounding.soft import SoftWeights, annealed_beta
from models.quantize.rounding.steps import LearnedSteps
from models.quantize.scales import bits_of_grids
from models.tracing import replaced

_LOOK = 100  # steps from one look at the loss to the next: each makes a GPU wait

Loss = Literal["mse", "fisher", "fisher_release"]


class Examples(NamedTuple):
    """What a block is shown of all calibration images, the images in the first dimension.

    inputs: what enters it in the network whose earlier blocks are quantized. float_inputs: in the
        float network. target: what leaves it there.
    importance: what the squared error of each value of `target` counts; None: all alike.
    """

    inputs: Tensor
    float_inputs: Tensor
    target: Tensor
    importance: Tensor | None = None

    def of(self, order: Tensor) -> "Examples":
        """Return what belongs to the images that `order` names, in the same memory format."""
        # Which `index_select` would not keep.
        weight = None if self.importance is None else self.importance[order]
        return Examples(self.inputs[order], self.float_inputs[order], self.target[order], weight)


class Task(NamedTuple):
    """One block that is to be learned.

    name: for who reads a message. run: the block as a function of its input.
    weights: those to be rounded, by the name of their layer. formats: by the same names.
    quantizers: of the activations inside, calibrated; empty while activations are float.
    generator: a seeded CPU random generator, which goes on from block to block. draws: one on the
        device of the block, for what is drawn for each value.
    tick: to be called after each step.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    examples: Examples
    weights: Mapping[str, nn.Parameter]
    formats: Mapping[str, WeightFormat]
    quantizers: Mapping[str, ActivationQuantizer]
    generator: torch.Generator
    draws: torch.Generator
    tick: Callable[[], None]


@dataclass(frozen=True)
class BlockRounding(ABC):
    """How the weights of a block, and the steps of its activations, are learned from its output.

    A block is a residual unit or the like (`models.quantize.rounding.blocks`). Fields are
    parameters, as those of a `Rounding`.

    version: as of a `Rounding`. joint: whether activations are quantized while the weights are
        learned.
    iterations: steps a block, at the rate `rate` of Adam, each on `batch` images, or on all where
        there are fewer. penalty: lambda of the regulariser of weights. step_rate: of the steps of
        activations.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    joint: ClassVar[bool]

    iterations: int = 20_000
    rate: float = 1e-3
    batch: int = 32
    penalty: float = 0.01
    step_rate: float = 4e-5

    @property
    def weighting(self) -> Loss:
        """What the errors of a block's output count: see `models.quantize.rounding.importance`."""
        return "mse"

    def check(self, a_granularity: str) -> None:
        """Raise NotApplicable where the steps of activations cannot be learned."""
        if a_granularity != "tensor":
            raise NotApplicable(
                f"quant.rounding={self.name} learns one step for each activation tensor; give "
                "quant.a_granularity=tensor"
            )

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        """Return what reading a layer's weight takes beside it, as of a `Rounding`."""
        return bits_of_grids(weight_format, len(weight))

    @property
    def steps_of_activations(self) -> int:
        """Steps that `learn_steps` takes for a block."""
        return 0

    @property
    def inputs_of_steps(self) -> Literal["float", "quantized"]:
        """Of which network the inputs are that `learn_steps` sees."""
        return "quantized"

    @abstractmethod
    def learn_weights(self, task: Task) -> dict[str, Tensor]:
        """Return the rounded weights of a block, by name; the network has them too."""

    def learn_steps(self, task: Task) -> None:
        """Give the quantizers of a block, whose weights are rounded, the ranges that are learned.

        Not called of a joint one, whose `learn_weights` does it.
        """
        raise NotImplementedError


class Course(NamedTuple):
    """How a block is learned: steps, images in each, and lambda of the regulariser.

    drop: the probability with which a value of the input is that of the float network.
    """

    iterations: int
    batch: int
    penalty: float = 0.0
    drop: float = 0.0


def learn(task: Task, course: Course, soft: SoftWeights | None, steps: LearnedSteps) -> None:
    """Learn the weights and the steps of a block, whichever there are, by its output.

    The loss of a step is the squared error of the output, summed over its channels and averaged
    over images and pixels, and the regulariser of the weights.

    Raises BenchError when it is not finite.
    """
    parameters = [] if soft is None else soft.parameters
    leaves = [*parameters, *steps.steps]
    if not leaves:
        return
    with replaced(steps.quantizers, steps.forward):
        for done in range(course.iterations):
            x, target, importance = _draw(task, course)
            if soft is not None:
                soft.place()
            with torch.enable_grad():
                output = task.run(x)
            slope = (output.detach() - target).mul_(2 / _places(target))
            if importance is not None:
                slope.mul_(importance)
            gradients = torch.autograd.grad(
                output, leaves, slope, allow_unused=True, materialize_grads=True
            )
            if soft is not None:
                beta = annealed_beta(done, course.iterations)
                soft.descend(gradients[: len(parameters)], beta, course.penalty)
            steps.descend(list(gradients[len(parameters) :]), done / course.iterations)
            task.tick()
            last = done + 1 == course.iterations
            if done % _LOOK == 0 or last:
                _check(task, bool(slope.sum().isfinite()) and (soft is None or soft.is_finite))


def _draw(task: Task, course: Course) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the input, the target and its importance of a few images, or of all there are."""
    examples, count = task.examples, len(task.examples.target)
    if course.batch < count:
        order = torch.randperm(count, generator=task.generator)[: course.batch]
        order = order.to(examples.target.device)
        examples = examples.of(order)
    inputs = examples.inputs
    if course.drop > 0:
        quantized = kept(inputs, course.drop, task.draws)
        inputs = torch.lerp(examples.float_inputs, inputs, quantized)
    return inputs, examples.target, examples.importance


def _places(target: Tensor) -> int:
    """Return the number of images times pixels (or tokens): values that a channel has."""
    return target.numel() // target.shape[1 if target.dim() == 4 else -1]


def _check(task: Task, finite: bool) -> None:
    if not finite:
        raise BenchError(
            f"the loss of the block {task.name!r} is not finite while its rounding is learned; "
            "lower quant.rounding_rate, or look at the calibration images"
        )
