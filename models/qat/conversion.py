"""Make a network trainable at several bit-widths with one set of weights.

network = make_quantizable(float_network, (8, 4, 2), QatSpec(), images)

`models.qat.network` switches between the bit-widths.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.qat.activations import (
    CONVOLUTION_CLIP,
    LINEAR_CLIP,
    Inputs,
    describe,
    make_activation_quantizer,
)
from models.qat.batchnorm import PrivateBatchNorm2d, TransitionalBatchNorm2d
from models.qat.layers import REPLACEMENTS, QuantizedLayer
from models.qat.spec import QatSpec
from models.qat.weights import make_weight_quantizer
from models.quantize.activation import weighted_layers
from models.tracing import traced


def make_quantizable(
    network: nn.Module, bits: Sequence[int], spec: QatSpec, images: Tensor
) -> nn.Module:
    """Return a copy of `network` that is trained quantized, at the first of `bits`.

    Every convolution and linear layer that `images` reach computes with quantized weights and a
    quantized input; every BatchNorm2d is shared, or has one copy a bit-width or a pair of them
    (`spec.batchnorm`). All parameters of the copy require gradients; it is in the mode (train or
    eval) of `network`, which itself is not touched.

    bits: that share the weights, descending, 1..16 or 32. images: (N, C, H, W) normalised input,
    seen once by the float network in eval mode: which layer is called first and last, whether an
    input is ever negative, and where learned steps and ranges of activations start.

    Raises BenchError for bits that `spec` has no grid for and for an empty batch, and
    NotApplicable when there is nothing to quantize or a layer computes in its own way.
    """
    bits = spec.check_bits(bits)
    if not len(images):
        raise BenchError("there are no images to look at the inputs of the layers with")
    copied = copy.deepcopy(network).requires_grad_(True)
    inputs_of, layer_before = _inputs_of_layers(network, images)
    if not inputs_of:
        raise NotApplicable("the network has no convolution or linear layer to quantize")
    order = list(inputs_of)
    first, last = order[0], order[-1]
    new: dict[nn.Module, nn.Module] = {}
    for name, inputs in inputs_of.items():
        # A single layer is the first.
        fixed = {last: spec.last_bits, first: spec.first_bits}.get(name)
        layer = copied.get_submodule(name)
        raw = name == first and not spec.quantize_images
        new[layer] = _quantized(name, layer, bits, fixed, spec, None if raw else inputs)
    for name, norm in copied.named_modules():
        if not isinstance(norm, nn.BatchNorm2d) or spec.batchnorm == "shared":
            continue
        if spec.batchnorm == "private":
            new[norm] = PrivateBatchNorm2d(norm, bits).train(norm.training)
        elif name in layer_before:
            at = order.index(layer_before[name])
            previous = order[at - 1] if at else None
            transitional = TransitionalBatchNorm2d(norm, bits, order[at], previous)
            new[norm] = transitional.train(norm.training)
    return _replaced(copied, new)


def _quantized(
    name: str,
    layer: nn.Module,
    choices: tuple[int, ...],
    fixed: int | None,
    spec: QatSpec,
    inputs: Inputs | None,
) -> QuantizedLayer:
    kind = REPLACEMENTS.get(type(layer).__name__)
    if kind is None:
        raise NotApplicable(
            f"layer {name!r} is a {type(layer).__name__}, which may change its weight before its "
            f"use; quantized training knows {', '.join(REPLACEMENTS)}"
        )
    bits = choices if fixed is None else (fixed,)
    weight = layer.get_parameter("weight")
    clip = LINEAR_CLIP if isinstance(layer, nn.Linear) else CONVOLUTION_CLIP
    if spec.clip_start == "percentile" and inputs is not None and inputs.high > 0:
        clip = inputs.high
    of_input = None
    try:
        of_weight = make_weight_quantizer(spec, bits, weight)
        if inputs is not None:
            of_input = make_activation_quantizer(spec, bits, inputs, clip)
    except BenchError as error:
        raise BenchError(f"layer {name!r}: {error}") from error
    new = kind.replacing(layer, choices, fixed, of_weight, of_input)
    return new.to(weight.device).train(layer.training)


@torch.no_grad()
def _inputs_of_layers(
    network: nn.Module, images: Tensor
) -> tuple[dict[str, Inputs], dict[str, str]]:
    """Return the inputs of each convolution and linear layer, in the order of their first calls.

    And the name of the layer called last before each BatchNorm2d, by the name of the BatchNorm2d.
    """
    probe = copy.deepcopy(network).eval()
    norms = {n: m for n, m in probe.named_modules() if isinstance(m, nn.BatchNorm2d)}
    inputs_of: dict[str, Inputs] = {}
    layer_before: dict[str, str] = {}
    latest = ""

    def note_layer(name: str, args: Any) -> None:
        nonlocal latest
        latest, inputs = name, describe(args[0])
        inputs_of[name] = inputs.joined(inputs_of.get(name, inputs))

    def note_norm(name: str, args: Any) -> None:
        if latest:
            layer_before.setdefault(name, latest)

    with traced(weighted_layers(probe), before=note_layer), traced(norms, before=note_norm):
        probe(images)
    return inputs_of, layer_before


def _replaced(module: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return `module` with what is in `new` replaced wherever it is registered."""
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                setattr(parent, name, new[child])
    return new.get(module, module)
