"""A short fine-tuning of a quantized network on labels, its weights staying on their values."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from models.quantize.activation import ActivationQuantizer, weighted_layers


class Labelled(NamedTuple):
    """Images (N, C, H, W), normalised, and their labels (N,) int64, on one device."""

    images: Tensor
    labels: Tensor


Project = Callable[[str, Tensor], Tensor]
"""From the name of a layer and a float weight to the quantized one."""


class FineTuning(NamedTuple):
    """Steps of SGD with momentum on batches of the images, drawn at random."""

    steps: int
    rate: float
    batch: int
    momentum: float = 0.9


def fine_tune(
    network: nn.Module,
    starts: Mapping[str, Tensor],
    project: Project,
    images: Labelled,
    how: FineTuning,
    generator: torch.Generator,
) -> float:
    """Train `network` with cross-entropy, in place; its layers compute with projected weights.

    The gradient of a quantized weight goes to the float one behind it, that of a quantized
    activation to the value behind it within the range (straight through). BatchNorm is in training
    mode meanwhile, as in HAQ's release (lib/env/quantize_env.py, `_train`).

    starts: the float weights, by layer. generator: a seeded CPU one, draws the batches.

    Returns the accuracy of the best batch that it trained on, in percent.
    """
    layers = {name: weighted_layers(network)[name] for name in starts}
    behind = [start.detach().clone() for start in starts.values()]
    others = [p for p in network.parameters() if all(p is not m.weight for m in layers.values())]
    trained = [*(layer.weight for layer in layers.values()), *others]
    update = torch.optim.SGD([*behind, *others], lr=how.rate, momentum=how.momentum)
    right: list[Tensor] = []
    adapting = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    for layer in adapting:
        layer.train()
    with _straight_through(network):
        for parameter in trained:
            parameter.requires_grad_(True)
        for _ in range(how.steps):
            _set(layers, behind, project)
            count = min(how.batch, len(images.labels))
            drawn = torch.randperm(len(images.labels), generator=generator)[:count]
            drawn = drawn.to(images.labels.device)
            with torch.enable_grad():
                logits = network(images.images[drawn])
                loss = cross_entropy(logits, images.labels[drawn])
                gradients = torch.autograd.grad(loss, trained, allow_unused=True)
            for parameter, gradient in zip([*behind, *others], gradients, strict=True):
                parameter.grad = gradient
            update.step()
            right.append((logits.argmax(1) == images.labels[drawn]).double().mean())
        for parameter in trained:
            parameter.requires_grad_(False)
            parameter.grad = None
    for layer in adapting:
        layer.eval()
    _set(layers, behind, project)
    return 100 * float(max(right, default=torch.tensor(0.0)))


def _set(
    layers: Mapping[str, nn.Conv2d | nn.Linear], behind: list[Tensor], project: Project
) -> None:
    for (name, layer), weight in zip(layers.items(), behind, strict=True):
        layer.weight.data = project(name, weight.detach())


@contextmanager
def _straight_through(network: nn.Module) -> Iterator[None]:
    """Let gradients pass the quantizers of activations, of values within their range."""

    def replaced(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        assert isinstance(module, ActivationQuantizer)
        clipped = torch.minimum(torch.maximum(args[0], module.low), module.high)
        return clipped + (output - clipped).detach()

    quantizers = [m for m in network.modules() if isinstance(m, ActivationQuantizer)]
    hooks = [quantizer.register_forward_hook(replaced) for quantizer in quantizers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
