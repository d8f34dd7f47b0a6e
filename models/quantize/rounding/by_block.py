"""The weights of a whole network, block by block, and the steps of its activations."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.quantize.activation import ActivationQuantizer, weighted_layers
from models.quantize.places import module_of
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Rounded
from models.quantize.rounding.block import BlockRounding, Examples, Task
from models.quantize.rounding.blocks import Block, find_blocks, function_of, inputs_and_outputs
from models.quantize.rounding.importance import importance
from models.tracing import call_names

_TICKS = 50  # steps from one report of the progress to the next


class BlockByBlock:
    """The blocks of a network, to be made low-bit in place.

    network: float, without activation quantizers.
    images: (N, 3, H, W), normalised. generator: a seeded CPU random generator.
    progress: called with the steps that are done and their number.
    """

    def __init__(
        self,
        network: nn.Module,
        rounding: BlockRounding,
        images: Tensor,
        generator: torch.Generator,
        progress: Callable[[int, int], None],
    ) -> None:
        self._network, self._reference = network, copy.deepcopy(network)
        self._rounding, self._images, self._generator = rounding, images, generator
        self._draws = _on_device(generator, images.device)
        self._progress = progress
        names = call_names(network, weighted_layers(network), images[:1])
        self.blocks = find_blocks(network, list(dict.fromkeys(names)), images[:1])

    @property
    def generators(self) -> tuple[torch.Generator, ...]:
        """What is drawn from: of the CPU, and where the images are elsewhere of their device."""
        return tuple(dict.fromkeys((self._generator, self._draws)))

    @property
    def warnings(self) -> list[str]:
        """What a reader of the network's numbers must know."""
        lines, name = [], f"quant.rounding={self._rounding.name}"
        if len(self.blocks) > 1 and all(len(block.layers) == 1 for block in self.blocks):
            lines.append(
                f"{name}: the network has no block of several layers, so that each layer was "
                "learned by itself"
            )
        if len(self._images) < self._rounding.batch:
            lines.append(
                f"{name}: each step saw all {len(self._images)} calibration images, because there "
                f"are fewer than quant.rounding_batch={self._rounding.batch}"
            )
        return lines

    def weights(
        self, formats: Mapping[str, WeightFormat], quantizers: Mapping[str, ActivationQuantizer]
    ) -> dict[str, Rounded]:
        """Quantize the weights of the layers named in `formats`; return what became of each.

        quantizers: of the activations, calibrated, where the rounding learns both at once; they
            get the ranges that are learned.
        """
        rounded: dict[str, Tensor] = {}
        tick = self._ticker(len(self.blocks) * self._rounding.iterations)
        for block, inside in self._with_quantizers(quantizers):
            names = [name for name in block.layers if name in formats]
            layers = {name: self._network.get_submodule(name) for name in names}
            weights = {name: layer.get_parameter("weight") for name, layer in layers.items()}
            if weights or inside:
                task = self._task(block, self._examples(block), inside, tick)
                given = {name: formats[name] for name in names}
                task = task._replace(weights=weights, formats=given)
                rounded |= self._rounding.learn_weights(task)
        return {name: Rounded(weight) for name, weight in rounded.items()}

    def steps(self, quantizers: Mapping[str, ActivationQuantizer]) -> None:
        """Give `quantizers`, by the names of their modules, the ranges that are learned.

        Nothing is left to do where they were learned with the weights.
        """
        if self._rounding.joint:
            return
        tick = self._ticker(len(self.blocks) * self._rounding.steps_of_activations)
        for block, inside in self._with_quantizers(quantizers):
            if inside:
                float_inputs, target = inputs_and_outputs(self._reference, block, self._images)
                inputs = float_inputs
                if self._rounding.inputs_of_steps == "quantized":
                    inputs, _ = inputs_and_outputs(self._network, block, self._images)
                examples = Examples(inputs, float_inputs, target)
                self._rounding.learn_steps(self._task(block, examples, inside, tick))

    def _with_quantizers(
        self, quantizers: Mapping[str, ActivationQuantizer]
    ) -> list[tuple[Block, dict[str, ActivationQuantizer]]]:
        """Return each block with the quantizers inside; one that serves several is of the first."""
        left = dict(quantizers)
        pairs = []
        for block in self.blocks:
            inside = {n: q for n, q in left.items() if _is_inside(n, block)}
            left = {n: q for n, q in left.items() if n not in inside}
            pairs.append((block, inside))
        return pairs

    def _examples(self, block: Block) -> Examples:
        network, reference = self._network, self._reference
        inputs, _ = inputs_and_outputs(network, block, self._images)
        float_inputs, target = inputs_and_outputs(reference, block, self._images)
        loss, generator = self._rounding.weighting, self._generator
        weight = importance(network, reference, block, self._images, loss, generator)
        return Examples(inputs, float_inputs, target, weight)

    def _task(
        self,
        block: Block,
        examples: Examples,
        quantizers: dict[str, ActivationQuantizer],
        tick: Callable[[], None],
    ) -> Task:
        run, generator = function_of(self._network, block), self._generator
        return Task(block.name, run, examples, {}, {}, quantizers, generator, self._draws, tick)

    def _ticker(self, total: int) -> Callable[[], None]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            if done % _TICKS == 0 or done == total:
                self._progress(done, total)

        return tick


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a random generator on `device`: the given one, or one that it seeds."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def _is_inside(place: str, block: Block) -> bool:
    name = module_of(place)
    return any(name == module or name.startswith(f"{module}.") for module in block.modules)
