"""The error of a layer's output as a function of its weight, from the inputs it is shown."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

_FEW = 4  # images at a time whose patches are held


class Reconstruction(NamedTuple):
    """The squared error of a layer's output as a function of what its weight is changed by.

    With a change D of the weight, the layer's error on a patch x of its input is D x + e, e being
    what the unchanged weight makes wrong because x is not the float input. Its square, summed over
    output channels and averaged over patches, is tr(D G D^T) + 2 tr(D^T B) and a constant: one
    small matrix product a step, however many images there are.

    gram: G = mean x x^T, (groups, d, d), d the input channels of a group x kernel height x width.
    cross: B = mean e x^T, (groups, out / groups, d).
    """

    gram: Tensor
    cross: Tensor

    def gradient(self, change: Tensor) -> Tensor:
        """Return the gradient of the error by the weight at `change` (out, in[, kh, kw])."""
        flat = change.reshape(self.cross.shape)
        return (2 * (flat @ self.gram + self.cross)).view_as(change)


class GramMatrix:
    """X'X of the patches X of a layer's input, added up over images; see `Reconstruction`."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        weight = layer.get_parameter("weight")
        self._size = weight[0].numel()
        self._shape = (groups, len(weight) // groups, self._size)
        self._sum: Tensor | None = None
        self._patches = 0

    @property
    def elements(self) -> int:
        return self._shape[0] * self._size**2

    def add(self, inputs: Tensor) -> None:
        """Count the patches of `inputs`, (N, ...) as they enter the layer."""
        for x in inputs.split(_FEW):
            patches = patches_of(self._layer, x)
            product = patches @ patches.mT
            self._sum = product if self._sum is None else self._sum.add_(product)
            self._patches += patches.shape[2]

    def problem(self) -> Reconstruction:
        """Return the problem to leave the output as it is, on what was added."""
        assert self._sum is not None
        return Reconstruction(self._sum / self._patches, self._sum.new_zeros(self._shape))


def reconstruction(layer: nn.Module, inputs: Tensor, target: Tensor) -> Reconstruction:
    """Return the reconstruction problem of a convolution or linear layer.

    inputs: (N, ...) what enters the layer; target: (N, ...) what should leave it.
    """
    gram, cross, count = torch.zeros(()), torch.zeros(()), 0
    for x, output in zip(inputs.split(_FEW), target.split(_FEW), strict=True):
        patches, error = patches_of(layer, x), _by_group(layer, layer(x) - output)
        gram = gram.to(x) + patches @ patches.mT
        cross = cross.to(x) + error @ patches.mT
        count += patches.shape[2]
    return Reconstruction(gram / count, cross / count)


def patches_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what the weight of `layer` is multiplied with, (groups, d, patches).

    x: (N, ...), what enters the layer.
    """
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2).T[None]
    assert isinstance(layer, nn.Conv2d)
    # Kernels with a single 1 copy each value of a patch to a channel of its own. The layer's own
    # forward pass does it, so that its padding and stride hold, whatever they are.
    size = layer.weight[0].numel()
    copies = torch.eye(size).to(x).repeat(layer.groups, 1).view(-1, *layer.weight.shape[1:])
    parameters = {"weight": copies}
    if layer.bias is not None:
        parameters["bias"] = copies.new_zeros(len(copies))
    return _by_group(layer, functional_call(layer, parameters, (x,)))


def _by_group(layer: nn.Module, values: Tensor) -> Tensor:
    """Return an output of `layer` as (groups, channels of a group, pixels of all images)."""
    if not isinstance(layer, nn.Conv2d):
        return values.flatten(0, -2).T[None]
    grouped = values.flatten(2).unflatten(1, (layer.groups, -1))
    return grouped.permute(1, 2, 0, 3).flatten(2)
