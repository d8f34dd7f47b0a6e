"""A network as tracers of code can read it: plain layers, and padding that no size decides."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.tracing import traced

_Size = tuple[int, int]


@torch.no_grad()
def traceable_copy(network: nn.Module, image: Tensor) -> nn.Module:
    """Return a copy of `network` that computes the same of images as large as `image`.

    Two kinds of layers hide from `torch.fx`, and from tools that look for layers by their class:
    convolutions that pad by the size of their input, as TensorFlow's "SAME" has it (timm's
    Conv2dSame), and BatchNorms with an activation inside (timm's BatchNormAct2d). The first become
    an nn.ZeroPad2d and an nn.Conv2d, the second an nn.BatchNorm2d and its activation; parameters
    and buffers are the network's own values.

    image: (1, C, H, W) normalised input, on the device of the network, which is in eval mode; it
    passes twice.

    Raises NotApplicable where the logits of the copy are not those of the network to the last bit:
    then it pads in a way that is not known here.
    """
    copied = copy.deepcopy(network)
    padding = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and type(module) is not nn.Conv2d
    }
    sizes: dict[str, _Size] = {}

    def note(name: str, args: Any) -> None:
        sizes[name] = tuple(args[0].shape[2:])

    with traced(padding, before=note):
        wanted = network(image)
    for parent, name, path, module in list(_children(copied)):
        if path in sizes and isinstance(module, nn.Conv2d):
            setattr(parent, name, _padded(module, sizes[path]))
        elif isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:
            setattr(parent, name, _normalised(module))
    if not torch.equal(copied(image), wanted):
        raise NotApplicable(
            "the network pads or normalises in a way that is not known here: its copy of plain "
            "layers has other logits"
        )
    return copied


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the zeros before and behind `size` values with which there are ceil(size / stride)
    outputs: TensorFlow's "SAME", the odd one behind.
    """
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _children(network: nn.Module) -> Iterator[tuple[nn.Module, str, str, nn.Module]]:
    """Give each module with its parent, its name there and its path."""
    for path, parent in network.named_modules():
        for name, module in parent.named_children():
            yield parent, name, f"{path}.{name}" if path else name, module


def _padded(layer: nn.Conv2d, size: _Size) -> nn.Module:
    plain = _as(nn.Conv2d, layer)
    plain.padding, plain.padding_mode = (0, 0), "zeros"
    plain._reversed_padding_repeated_twice = [0, 0, 0, 0]
    axes = zip(size, layer.kernel_size, layer.stride, layer.dilation, strict=True)
    (top, bottom), (left, right) = (same_padding(*axis) for axis in axes)
    if not any((top, bottom, left, right)):
        return plain
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)


def _normalised(layer: nn.BatchNorm2d) -> nn.Module:
    inside = [child for child in layer.children() if not isinstance(child, nn.Identity)]
    plain = _as(nn.BatchNorm2d, layer)
    return nn.Sequential(plain, *inside) if inside else plain


def _as(kind: type[nn.Module], layer: nn.Module) -> Any:
    """Return `layer` as one of `kind`, which it derives from, with nothing inside."""
    plain = copy.copy(layer)
    plain.__class__ = kind
    plain._modules = {}
    return plain
