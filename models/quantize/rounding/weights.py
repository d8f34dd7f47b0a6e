"""The weights of a whole network, layer by layer."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from models.detection import FoundBoxes
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Inputs, Layer, Rounded, Rounding
from models.quantize.rounding.by_channel import by_channel
from models.quantize.rounding.finetune import Student
from models.quantize.rounding.known import known_now
from models.quantize.rounding.reconstruction import (
    GramMatrix,
    Reconstruction,
    reconstruction_of_calls,
)
from models.tracing import Enough, call_names, traced

_BATCH = 32  # images at a time through the network
_HELD = 2**28  # elements of Gram matrices, 1 GiB


def round_weights(
    network: nn.Module,
    formats: Mapping[str, WeightFormat],
    rounding: Rounding,
    images: Tensor,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> dict[str, Rounded]:
    """Quantize the weights of the layers named in `formats`, in place; return what became of each.

    formats: by name; for a rounding that looks at inputs in the order in which the network calls
        the layers. images: (N, 3, H, W), normalised. progress: called with the layers that are
        done and their number, where a rounding looks at inputs.

    Raises NotApplicable for a format that the rounding cannot do, before any weight changes.
    """
    for weight_format in formats.values():
        rounding.check(weight_format)
    looks = rounding.inputs != "none"

    def weight_of(name: str) -> nn.Parameter:
        return network.get_submodule(name).get_parameter("weight")

    rounded: dict[str, Rounded] = {}
    problems = _PROBLEMS[rounding.inputs](network, list(formats), images)
    tuning = rounding.finetuning
    student = Student(network, images, tuning, generator) if tuning is not None else None
    shared: dict[nn.Parameter, Tensor] = {}
    # The next problem is made when the weight before it is rounded.
    layers = zip(formats.items(), problems, strict=True)
    for done, ((name, weight_format), problem) in enumerate(layers, 1):
        module = network.get_submodule(name)
        weight, groups = weight_of(name), getattr(module, "groups", 1)
        layer = Layer(weight.detach(), weight_format, problem, generator, groups)
        of_channels = weight_format.channel_bits is not None
        rounded[name] = by_channel(rounding, layer) if of_channels else rounding.quantize(layer)
        weight.data, labels = rounded[name].weight, rounded[name].shared
        if student is not None and labels is not None:
            shared[weight] = labels
            student.learn_layer(weight, labels)
        if looks:
            progress(done, len(formats))
    if student is not None:
        student.learn_network(shared)
    return {name: each._replace(weight=weight_of(name).detach()) for name, each in rounded.items()}


Problems = Iterator[Reconstruction | None]
"""Of layers, in the order of their names."""


def _no_inputs(network: nn.Module, names: Sequence[str], images: Tensor) -> Problems:
    return repeat(None, len(names))


@torch.no_grad()
def _quantized_inputs(network: nn.Module, names: Sequence[str], images: Tensor) -> Problems:
    """Yield problems whose inputs are what `network` gives by then, their targets those of now.

    Of a detector of several stages, whose later layers see other boxes by then, the targets are
    what the layers make of these inputs now.
    """
    if isinstance(network, FoundBoxes):
        yield from _as_they_are(network, names, images)
        return
    reference = copy.deepcopy(network)
    modules = {name: network.get_submodule(name) for name in names}
    calls = Counter(call_names(network, modules, images[:1]))
    for name, layer in modules.items():
        inputs = [x for x, _ in _inputs_and_outputs(network, name, images, calls[name])]
        targets = [y for _, y in _inputs_and_outputs(reference, name, images, calls[name])]
        yield reconstruction_of_calls(layer, zip(inputs, targets, strict=True))


def _as_they_are(network: nn.Module, names: Sequence[str], images: Tensor) -> Problems:
    modules = {name: network.get_submodule(name) for name in names}
    for name, layer in modules.items():
        gram = GramMatrix(copy.deepcopy(layer))  # the other is watched while it runs
        _look(network, {name: layer}, {name: gram}, images)
        yield gram.problem()


@torch.no_grad()
def _float_inputs(network: nn.Module, names: Sequence[str], images: Tensor) -> Problems:
    """Yield problems whose inputs and targets are those of `network` as it is now."""
    reference, known = copy.deepcopy(network), known_now()
    for group in _fitting(reference, names):
        found = {name: known.get(name) if known is not None else None for name in group}
        missing = [name for name, gram in found.items() if gram is None]
        layers = {name: reference.get_submodule(name) for name in missing}
        # Of the layers of `network`: the others are watched while they run.
        grams = {name: GramMatrix(network.get_submodule(name)) for name in group}
        if missing:
            _look(reference, layers, grams, images)
        for name, gram in found.items():
            problem = grams[name].problem(gram)
            if known is not None:
                known.add(name, problem.gram)
            yield problem


def _look(
    network: nn.Module,
    layers: Mapping[str, nn.Module],
    grams: Mapping[str, GramMatrix],
    images: Tensor,
) -> None:
    """Add what enters each of `layers` in a forward pass of `images` to its Gram matrix."""

    def note(name: str, args: Any) -> None:
        grams[name].add(args[0])

    with traced(layers, before=note):
        for batch in images.split(_BATCH):
            network(batch)


_PROBLEMS: dict[Inputs, Callable[[nn.Module, Sequence[str], Tensor], Problems]] = {
    "none": _no_inputs,
    "float": _float_inputs,
    "quantized": _quantized_inputs,
}


def _fitting(network: nn.Module, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield `names` in groups whose Gram matrices are held at the same time."""
    group: list[str] = []
    elements = 0
    for name in names:
        size = GramMatrix(network.get_submodule(name)).elements
        if group and elements + size > _HELD:
            yield group
            group, elements = [], 0
        group.append(name)
        elements += size
    if group:
        yield group


def _inputs_and_outputs(
    network: nn.Module, name: str, images: Tensor, calls: int
) -> list[tuple[Tensor, Tensor]]:
    """Return what enters and what leaves the layer called `name`, for all images.

    Of all batches and calls together, or, where maps of several sizes enter, of each alone.

    calls: how often a forward pass calls it. What lies behind the last is not computed.
    """
    pairs = [c for batch in images.split(_BATCH) for c in _calls(network, name, batch, calls)]
    if len({x.shape[1:] for x, _ in pairs}) > 1:
        return pairs
    inputs, outputs = zip(*pairs, strict=True)
    return [(torch.cat(inputs), torch.cat(outputs))]


def _calls(
    network: nn.Module, name: str, images: Tensor, calls: int
) -> list[tuple[Tensor, Tensor]]:
    """Return (input, output) of each call of a layer; the pass ends at the last of them."""
    pairs: list[tuple[Tensor, Tensor]] = []

    def note(_: str, args: Any, output: Tensor) -> None:
        # What goes on after this call may change either in place, as a ReLU does.
        pairs.append((args[0].clone(), output.clone()) if calls > 1 else (args[0], output))
        if len(pairs) == calls:
            raise Enough

    layer = {name: network.get_submodule(name)}
    with torch.no_grad(), suppress(Enough), traced(layer, after=note):
        network(images)
    return pairs
