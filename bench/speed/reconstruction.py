"""What a step of block reconstruction costs over the bare block."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.quantize.calibration import calibrated
from models.quantize.layers import call_order, weight_formats
from models.quantize.rounding.block import Course, Examples, Task, learn
from models.quantize.rounding.blocks import Block, find_blocks, function_of, inputs_and_outputs
from models.quantize.rounding.qdrop import QDrop
from models.quantize.rounding.soft import SoftWeights
from models.quantize.rounding.steps import LearnedSteps
from models.quantize.spec import QuantSpec
from models.zoo import entry

_IMAGES = 32
_SECONDS = 15.0
_STEPS = 10
_BITS = 4
_SPEC = QuantSpec(_BITS, _BITS)
_NETWORKS = ("resnet20", "resnet18", "efficientnet_lite0")
_AT_MOST = 1.3


def middle(blocks: Sequence[Block]) -> Block:
    """Return the one in the middle of those that have several layers."""
    several = [block for block in blocks if len(block.layers) > 1]
    return several[len(several) // 2]


def steps(network: nn.Module, place: Workplace, size: int) -> tuple[Block, dict[str, float]]:
    """Return a block of `network`, and the seconds of ten steps with it.

    bare: forward passes of the same images and gradients of the weights. brecq, qdrop: steps on
    images that are drawn from twice as many, the latter with quantized activations.
    """
    images = place.noise(2 * _IMAGES, size)
    with torch.no_grad():
        block = middle(find_blocks(network, call_order(network, images[:1]), images[:1]))
        inputs, target = inputs_and_outputs(network, block, images)
        quantized = copy.deepcopy(network)
        quantizers = calibrated(quantized, _SPEC, {}, images[:2])
    inside = {name: q for name, q in quantizers.items() if name.startswith(f"{block.name}.")}
    examples = Examples(inputs, inputs, target)
    generator = torch.Generator().manual_seed(0)

    def learning(of: nn.Module, drop: float, learned: LearnedSteps) -> Callable[[], None]:
        weights = {n: of.get_submodule(n).get_parameter("weight") for n in block.layers}
        formats = weight_formats(dict.fromkeys(weights, _BITS), _SPEC)
        run = function_of(of, block)
        task = Task(
            block.name, run, examples, weights, formats, {}, generator, generator, lambda: None
        )
        soft = SoftWeights(weights, formats, rate=1e-6)
        return partial(learn, task, Course(_STEPS, _IMAGES, 0.01, drop), soft, learned)

    draws = torch.Generator(images.device).manual_seed(0)
    sides: dict[str, Callable[[], object]] = {
        "bare": partial(_bare, copy.deepcopy(network), block, examples),
        "brecq": learning(copy.deepcopy(network), 0.0, LearnedSteps({}, 1e-6)),
        "qdrop": learning(quantized, QDrop.drop, LearnedSteps(inside, 1e-6, QDrop.drop, draws)),
    }
    return block, alternate(sides, _SECONDS, place.device.device)


def _bare(network: nn.Module, block: Block, examples: Examples) -> None:
    weights = [network.get_submodule(name).get_parameter("weight") for name in block.layers]
    run, x = function_of(network, block), examples.inputs[:_IMAGES]
    slope = torch.ones_like(examples.target[:_IMAGES])
    for weight in weights:
        weight.requires_grad_()
    for _ in range(_STEPS):
        torch.autograd.grad(run(x), weights, slope)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratios of BRECQ's and QDrop's steps to the bare block."""
    size = entry(name).preprocessing.size
    block, seconds = steps(place.network(name), place, size)
    what = f"{name}, {_IMAGES} images of {size} px"
    details = {"images": _IMAGES, "pixels": size, "block": block.name}
    bare = Side("forward pass and gradient of the weights", seconds["bare"] / _STEPS)
    return [
        Ratio(
            f"BRECQ step / bare block: {what}",
            Side("a step that learns the block's rounding", seconds["brecq"] / _STEPS),
            bare,
            goal=_AT_MOST,
            details=details,
        ),
        Ratio(
            f"QDrop step / bare block: {what}",
            Side("the same with 4-bit activations, dropped and learned", seconds["qdrop"] / _STEPS),
            bare,
            details=details,
        ),
    ]


MEASURES = [Measure(f"block reconstruction of {n}", partial(of_network, n)) for n in _NETWORKS]
