"""Make a network trainable at several bit-widths with one set of weights.

network = make_quantizable(float_network, (8, 4, 2), QatSpec(), images)

`models.qat.network` switches between the bit-widths.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.canonical import canonical_copy
from models.errors import BenchError, NotApplicable
from models.qat.activations import (
    CONVOLUTION_CLIP,
    LINEAR_CLIP,
    Inputs,
    describe,
    make_activation_quantizer,
)
from models.qat.batchnorm import PrivateBatchNorm2d, TransitionalBatchNorm2d
from models.qat.layers import REPLACEMENTS, QuantizedLayer, QuantizedOutput, is_depthwise
from models.qat.network import quantizer_parameters
from models.qat.spec import QatSpec
from models.qat.weights import make_weight_quantizer
from models.quantize.activation import weighted_layers
from models.quantize.spec import FLOAT_BITS
from models.tracing import traced

SHORTCUTS = ("identity_conv", "downsample", "shortcut", "skip", "skip_conv")
"""What the module of a shortcut that has a convolution is called in pytorchcv, timm, torchvision
and the releases of the methods here."""


_RELUS = nn.ReLU, nn.ReLU6


class _Layer(NamedTuple):
    """What becomes of a layer.

    weight_bits, input_bits: fixed, or None for those that are chosen. inputs: None where the input
    is left as it comes.
    """

    weight_bits: int | None
    input_bits: int | None
    inputs: Inputs | None


def make_quantizable(
    network: nn.Module,
    bits: Sequence[int],
    spec: QatSpec,
    images: Tensor,
    input_bits: int | None = None,
) -> nn.Module:
    """Return a copy of `network` that is trained quantized, at the first of `bits`.

    Every convolution and linear layer that `images` reach computes with quantized weights and a
    quantized input; every BatchNorm2d is shared, or has one copy a bit-width or a pair of them
    (`spec.batchnorm`). All parameters of the copy require gradients, but for those of quantizers
    where `spec.learned` is false; it is in the mode (train or eval) of `network`, which itself is
    not touched.

    bits: that share the weights, descending, 1..16 or 32. images: (N, C, H, W) normalised input,
    seen once by the float network in eval mode: which layer is called first and last, whether an
    input is ever negative, and where learned steps and ranges of activations start.
    input_bits: of the inputs of layers, whatever is chosen for weights; None: the same.

    Raises BenchError for bits that `spec` has no grid for and for an empty batch, and
    NotApplicable when there is nothing to quantize or a layer computes in its own way.
    """
    bits = spec.check_bits(bits)
    if not len(images):
        raise BenchError("there are no images to look at the inputs of the layers with")
    mode = network.training
    network = canonical_copy(network, images[:1])
    copied = copy.deepcopy(network).train(mode).requires_grad_(True)
    inputs_of, outputs_of, layer_before = _activations(network, images, spec.sites == "relu")
    if not inputs_of:
        raise NotApplicable("the network has no convolution or linear layer to quantize")
    order = list(inputs_of)
    new: dict[nn.Module, nn.Module] = {}
    for name in order:
        layer = copied.get_submodule(name)
        plan = _plan(name, layer, inputs_of, spec)
        if plan.input_bits is None:
            plan = plan._replace(input_bits=input_bits)
        made_of = _quantized(name, layer, bits, spec, plan)
        made_of.input_values = inputs_of[name].values
        new[layer] = made_of
    if spec.sites == "relu":
        new |= _quantized_outputs(copied, outputs_of, bits, spec)
    for name, norm in copied.named_modules():
        if not isinstance(norm, nn.BatchNorm2d) or spec.batchnorm == "shared":
            continue
        if spec.shortcuts == "float_shared" and _on_shortcut(layer_before.get(name, "")):
            continue
        if spec.batchnorm == "private":
            new[norm] = PrivateBatchNorm2d(norm, bits).train(norm.training)
        elif name in layer_before:
            at = order.index(layer_before[name])
            previous = order[at - 1] if at else None
            transitional = TransitionalBatchNorm2d(norm, bits, order[at], previous)
            new[norm] = transitional.train(norm.training)
    made = with_replaced(copied, new)
    for parameter in quantizer_parameters(made):
        parameter.requires_grad_(spec.learned)
    return made


def _plan(name: str, layer: nn.Module, inputs_of: Mapping[str, Inputs], spec: QatSpec) -> _Layer:
    order = list(inputs_of)
    first, last = order[0], order[-1]
    inputs = inputs_of[name]
    if spec.signed_inputs == "never":
        inputs = inputs._replace(signed=False)
    elif spec.signed_inputs == "depthwise" and is_depthwise(layer):
        inputs = inputs._replace(signed=True)
    if spec.sites == "relu":
        of_weights = {last: spec.last_bits, first: spec.first_bits}.get(name)
        return _Layer(of_weights, None, None)
    if name == first:  # a single layer is the first
        known = (b for b in (spec.image_bits, spec.first_bits) if b is not None)
        of_images = next(known, spec.input_bits)
        return _Layer(spec.first_bits, of_images, inputs if spec.quantize_images else None)
    if name == last:
        of_input = spec.last_bits if spec.fix_last_input else None
        return _Layer(spec.last_bits, spec.input_bits if of_input is None else of_input, inputs)
    if spec.shortcuts != "quantized" and _on_shortcut(name):
        return _Layer(FLOAT_BITS, FLOAT_BITS, None)
    return _Layer(None, spec.input_bits, inputs)


def _quantized_outputs(
    network: nn.Module, outputs_of: Mapping[str, Inputs], bits: tuple[int, ...], spec: QatSpec
) -> dict[nn.Module, nn.Module]:
    if not outputs_of:
        raise NotApplicable(
            "the network calls no ReLU module whose output qat.sites=relu could quantize"
        )
    own = bits if spec.input_bits is None else (spec.input_bits,)
    device = next(network.parameters()).device
    new: dict[nn.Module, nn.Module] = {}
    for name, outputs in outputs_of.items():
        function, clip = network.get_submodule(name), CONVOLUTION_CLIP
        if spec.clip_start == "percentile" and outputs.high > 0:
            clip = outputs.high
        quantizer = make_activation_quantizer(spec, own, outputs, clip)
        made = QuantizedOutput(function, bits, quantizer, spec.input_bits)
        new[function] = made.to(device).train(function.training)
    return new


def _on_shortcut(name: str) -> bool:
    return not {*name.split(".")}.isdisjoint(SHORTCUTS)


def _quantized(
    name: str, layer: nn.Module, choices: tuple[int, ...], spec: QatSpec, plan: _Layer
) -> QuantizedLayer:
    kind = REPLACEMENTS.get(type(layer).__name__)
    if kind is None:
        raise NotApplicable(
            f"layer {name!r} is a {type(layer).__name__}, which may change its weight before its "
            f"use; quantized training knows {', '.join(REPLACEMENTS)}"
        )
    of_weights = choices if plan.weight_bits is None else (plan.weight_bits,)
    of_inputs = choices if plan.input_bits is None else (plan.input_bits,)
    inputs, weight = plan.inputs, layer.get_parameter("weight")
    clip = LINEAR_CLIP if isinstance(layer, nn.Linear) else CONVOLUTION_CLIP
    if spec.clip_start == "percentile" and inputs is not None and inputs.high > 0:
        clip = inputs.high
    of_input = None
    try:
        of_weight = make_weight_quantizer(spec, of_weights, weight)
        if inputs is not None:
            of_input = make_activation_quantizer(spec, of_inputs, inputs, clip)
    except BenchError as error:
        raise BenchError(f"layer {name!r}: {error}") from error
    new = kind.replacing(layer, choices, plan.weight_bits, of_weight, of_input, plan.input_bits)
    return new.to(weight.device).train(layer.training)


@torch.no_grad()
def _activations(
    network: nn.Module, images: Tensor, of_relus: bool
) -> tuple[dict[str, Inputs], dict[str, Inputs], dict[str, str]]:
    """Return the inputs of each convolution and linear layer, in the order of their first calls.

    The same of the outputs of ReLU modules, where `of_relus` says so, and the name of the layer
    called last before each BatchNorm2d, by the name of the BatchNorm2d.
    """
    probe = copy.deepcopy(network).eval()
    norms = {n: m for n, m in probe.named_modules() if isinstance(m, nn.BatchNorm2d)}
    relus = {n: m for n, m in probe.named_modules() if of_relus and isinstance(m, _RELUS)}
    inputs_of: dict[str, Inputs] = {}
    outputs_of: dict[str, Inputs] = {}
    layer_before: dict[str, str] = {}
    latest = ""

    def note_layer(name: str, args: Any) -> None:
        nonlocal latest
        latest, inputs = name, describe(args[0])
        inputs_of[name] = inputs_of[name].joined(inputs) if name in inputs_of else inputs

    def note_relu(name: str, args: Any, output: Any) -> None:
        outputs = describe(output)
        outputs_of[name] = outputs_of[name].joined(outputs) if name in outputs_of else outputs

    def note_norm(name: str, args: Any) -> None:
        if latest:
            layer_before.setdefault(name, latest)

    with (
        traced(weighted_layers(probe), before=note_layer),
        traced(relus, after=note_relu),
        traced(norms, before=note_norm),
    ):
        probe(images)
    return inputs_of, outputs_of, layer_before


def with_replaced(module: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return `module` with what is in `new` replaced wherever it is registered."""
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                setattr(parent, name, new[child])
    return new.get(module, module)
