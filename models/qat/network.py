"""Make a network trainable at several bit-widths with one set of weights, and switch between them.

network = make_quantizable(float_network, (8, 4, 2), QatSpec(), images)
set_bits(network, 4)
set_bits(network, {"": 2, "features.stage1": 8})
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
from models.qat.layers import REPLACEMENTS, QuantizedLayer, Switchable
from models.qat.quantizer import Quantizer
from models.qat.spec import QatSpec
from models.qat.weights import make_weight_quantizer
from models.quantize.activation import weighted_layers
from models.registry import did_you_mean


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
    seen, followed = _inputs_of_layers(network, images)
    if not seen:
        raise NotApplicable("the network has no convolution or linear layer to quantize")
    first, last = next(iter(seen)), list(seen)[-1]
    new: dict[nn.Module, nn.Module] = {}
    for name, inputs in seen.items():
        # A single layer is the first.
        fixed = {last: spec.last_bits, first: spec.first_bits}.get(name)
        layer = copied.get_submodule(name)
        raw = name == first and not spec.quantize_images
        new[layer] = _quantized(name, layer, bits, fixed, spec, None if raw else inputs)
    order = list(seen)
    for name, norm in copied.named_modules():
        if not isinstance(norm, nn.BatchNorm2d) or spec.batchnorm == "shared":
            continue
        if spec.batchnorm == "private":
            new[norm] = PrivateBatchNorm2d(norm, bits).train(norm.training)
        elif name in followed:
            at = order.index(followed[name])
            previous = order[at - 1] if at else None
            transitional = TransitionalBatchNorm2d(norm, bits, order[at], previous)
            new[norm] = transitional.train(norm.training)
    return _replaced(copied, new)


def set_bits(network: nn.Module, bits: int | Mapping[str, int]) -> None:
    """Choose the bit-width that `network` computes at from now on, for all of it or by part.

    bits: one for all; or by name of a module, for all that is in it, the longest name deciding and
    "" being the whole network. What no name covers keeps its bit-width. A BatchNorm takes the
    bit-width of the part it is in, so name a block, not a convolution, where both should switch.

    Layers with fixed bits keep them. Raises BenchError for a bit-width that the network is not
    made for and for a name with nothing to switch in it; then nothing is changed.
    """
    wanted = {"": bits} if isinstance(bits, int) else dict(bits)
    parts = {n: m for n, m in network.named_modules() if isinstance(m, Switchable)}
    for name, asked in wanted.items():
        _check_choice(network, asked)
        if not any(_within(part, name) for part in parts):
            known = {n.rsplit(".", depth)[0] for n in parts for depth in range(n.count(".") + 1)}
            raise BenchError(
                f"the network has nothing with a bit-width in {name!r}; {did_you_mean(name, known)}"
            )
    for part, module in parts.items():
        names = [name for name in wanted if _within(part, name)]
        if names:
            module.chosen = wanted[max(names, key=len)]
    for module in parts.values():
        if isinstance(module, TransitionalBatchNorm2d):
            module.chosen = parts[module.layer].chosen
            module.before = parts[module.previous or module.layer].chosen


def blocks(network: nn.Module) -> list[str]:
    """Return the names of the blocks of a quantizable network, in registration order.

    A block is the outermost module around a quantized layer that is neither the network itself nor
    a list of modules (nn.Sequential, nn.ModuleList): the residual units of the zoo's networks, and
    each layer outside them.
    """
    modules = dict(network.named_modules())
    found: dict[str, None] = {}
    for layer in quantized_layers(network):
        path = layer.split(".")
        outwards = (".".join(path[: end + 1]) for end in range(len(path)))
        block = next(
            name
            for name in outwards
            if not isinstance(modules[name], nn.Sequential | nn.ModuleList)
        )
        found[block] = None
    return list(found)


def quantized_layers(network: nn.Module) -> dict[str, QuantizedLayer]:
    """Return the quantized layers by name, in registration order; `bits` is the current one."""
    return {n: m for n, m in network.named_modules() if isinstance(m, QuantizedLayer)}


def quantizer_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the steps, ranges and clips that are learned, of all bit-widths."""
    quantizers = [m for m in network.modules() if isinstance(m, Quantizer)]
    return [p for quantizer in quantizers for p in quantizer.parameters()]


def copy_private(network: nn.Module, source: int) -> None:
    """Give every bit-width the BatchNorm and the ranges of the bit-width `source`.

    Learned steps are scaled so that the range stays. This is how a network trained at one bit-width
    is used at others without training.
    Raises BenchError when the network is not made for `source`.
    """
    _check_choice(network, source)
    for module in network.modules():
        if isinstance(module, PrivateBatchNorm2d | TransitionalBatchNorm2d | Quantizer):
            module.copy_private(source)


def freeze(network: nn.Module) -> nn.Module:
    """Quantize every weight once, at the bits in use; return `network`, now for evaluation only."""
    for layer in quantized_layers(network).values():
        layer.freeze()
    return network.eval()


def weights_size_mb(network: nn.Module) -> float:
    """Return the size of the weights of the quantized layers at their current bits, in MiB."""
    layers = quantized_layers(network).values()
    return sum(layer.weight.numel() * layer.bits for layer in layers) / 8 / 2**20


def project(network: nn.Module) -> None:
    """Put learned steps and ranges back into their bounds; call it after each optimizer step."""
    for module in network.modules():
        if isinstance(module, Quantizer):
            module.project()


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
    """Return what is seen of the input of each convolution and linear layer, as they are called.

    And the name of the layer called last before each BatchNorm2d, by the name of the BatchNorm2d.
    """
    probed = copy.deepcopy(network).eval()
    names = {layer: name for name, layer in weighted_layers(probed).items()}
    seen: dict[str, Inputs] = {}
    followed: dict[str, str] = {}
    latest = ""

    def note(layer: nn.Module, args: Any) -> None:
        nonlocal latest
        latest, now = names[layer], describe(args[0])  # type: ignore[index]
        seen[latest] = now.joined(seen.get(latest, now))

    def note_norm(norm: nn.Module, args: Any) -> None:
        if latest:
            followed.setdefault(norm_names[norm], latest)

    for layer in names:
        layer.register_forward_pre_hook(note)
    modules = probed.named_modules()
    norm_names: dict[nn.Module, str] = {m: n for n, m in modules if isinstance(m, nn.BatchNorm2d)}
    for norm in norm_names:
        norm.register_forward_pre_hook(note_norm)
    probed(images)
    return seen, followed


def _replaced(module: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return `module` with what is in `new` replaced wherever it is registered."""
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                setattr(parent, name, new[child])
    return new.get(module, module)


def _check_choice(network: nn.Module, bits: int) -> None:
    made = {c for m in network.modules() if isinstance(m, Switchable) for c in m.choices}
    if bits not in made:
        raise BenchError(
            f"{bits} bits are asked for, but the network is made for {sorted(made, reverse=True)}"
        )


def _within(part: str, name: str) -> bool:
    return not name or part == name or part.startswith(f"{name}.")
