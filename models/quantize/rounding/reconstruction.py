"""The error of a layer's output as a function of its weight, from the inputs it is shown."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from models.errors import NotApplicable
from models.tracing import Enough

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
        self._is_table = isinstance(layer, nn.Embedding | nn.EmbeddingBag)
        self._size = weight[0].numel()
        self._shape = (groups, len(weight) // groups, self._size)
        self._sum: Tensor | None = None
        self._patches = 0

    @property
    def elements(self) -> int:
        return self._shape[0] * self._size**2

    def add(self, inputs: Tensor) -> None:
        """Count the patches of `inputs`, (N, ...) as they enter the layer.

        Ids that enter a table of embeddings are none.
        """
        if self._is_table:
            return
        for x in inputs.split(_FEW):
            patches = patches_of(self._layer, x)
            product = patches @ patches.mT
            self._sum = product if self._sum is None else self._sum.add_(product)
            self._patches += patches.shape[2]

    def problem(self, mean: Tensor | None = None) -> Reconstruction:
        """Return the problem to leave the output as it is, on what was added.

        mean: the mean of x x', where it is known and nothing was added.
        Raises NotApplicable where there was not one patch.
        """
        if mean is None and self._is_table:
            return _of_table(self._layer)
        if mean is None:
            if self._sum is None or not self._patches:
                raise NotApplicable(
                    "a layer sees nothing of the calibration images, as the heads of a detector do "
                    "where it finds no box; give other images, or more (method.images)"
                )
            mean = self._sum / self._patches
        return Reconstruction(mean, mean.new_zeros(self._shape))


def reconstruction(layer: nn.Module, inputs: Tensor, target: Tensor) -> Reconstruction:
    """Return the reconstruction problem of a convolution or linear layer, or of a table.

    inputs: (N, ...) what enters the layer; target: (N, ...) what should leave it.
    """
    return reconstruction_of_calls(layer, [(inputs, target)])


def reconstruction_of_calls(
    layer: nn.Module, calls: Iterable[tuple[Tensor, Tensor]]
) -> Reconstruction:
    """Return the same of `calls`, each with inputs and target; those of one may be larger maps."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return _of_table(layer)
    gram, cross, count = torch.zeros(()), torch.zeros(()), 0
    for inputs, target in calls:
        for x, output in zip(inputs.split(_FEW), target.split(_FEW), strict=True):
            patches, error = patches_of(layer, x), _by_group(layer, layer(x) - output)
            gram = gram.to(x) + patches @ patches.mT
            cross = cross.to(x) + error @ patches.mT
            count += patches.shape[2]
    return Reconstruction(gram / count, cross / count)


def _of_table(layer: nn.Module) -> Reconstruction:
    """Return the problem of a table of embeddings: what leaves it are its rows, so that the error
    is theirs, and each counts alike, however often it is looked up.
    """
    weight = layer.get_parameter("weight")
    columns = weight.shape[1]
    eye = torch.eye(columns, dtype=weight.dtype, device=weight.device)
    return Reconstruction(eye[None], weight.new_zeros(1, len(weight), columns))


def patches_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what the weight of `layer` is multiplied with, (groups, d, patches).

    x: (N, ...), what enters the layer.
    """
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2).T[None]
    return _Call.of(layer, x).patches


class _Call(NamedTuple):
    """What a convolution hands to `torch.conv2d`.

    kernel: its height and width. values: (N, C, H, W), with the padding that is not zeros.
    """

    kernel: tuple[int, int]
    values: Tensor
    stride: int | tuple[int, int] = 1
    padding: str | int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1

    @classmethod
    def of(cls, layer: nn.Module, x: Tensor) -> "_Call":
        """Return the call that `layer` makes on x.

        The layer's own forward pass prepares it, so that padding and stride hold, whatever they are
        and wherever a subclass makes them.
        Raises NotApplicable for a layer that makes none.
        """
        with suppress(Enough), _Watch() as watch:
            layer(x)
        if watch.given is None:
            raise NotApplicable(
                f"a {type(layer).__name__} computes its output without torch.conv2d, so what its "
                "weight is multiplied with cannot be seen; use a rounding that looks at no inputs"
            )
        given = dict(watch.given)
        values, weight = given.pop("input"), given.pop("weight")
        given.pop("bias", None)
        return cls(tuple(weight.shape[2:]), values, **given)

    @property
    def patches(self) -> Tensor:
        """(groups, d, patches), as `patches_of`; a copy."""
        (high, wide), stride, dilation = self.kernel, _pair(self.stride), _pair(self.dilation)
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, self.kernel, strict=True)]
        if isinstance(self.padding, str):
            totals = [span - 1 if self.padding == "same" else 0 for span in spans]
            sides = [(total // 2, total - total // 2) for total in totals]
        else:
            sides = [(side, side) for side in _pair(self.padding)]
        values = pad(self.values, (*sides[1], *sides[0]))
        windows = values.unfold(2, spans[0], stride[0]).unfold(3, spans[1], stride[1])
        windows = windows[..., :: dilation[0], :: dilation[1]].unflatten(1, (self.groups, -1))
        ordered = windows.permute(1, 2, 5, 6, 0, 3, 4)
        return ordered.reshape(self.groups, ordered.shape[1] * high * wide, -1)


class _Watch(TorchFunctionMode):
    """Keeps the arguments of the first call of `torch.conv2d`, and ends the pass there."""

    given: dict[str, Any] | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is not torch.conv2d:
            return function(*args, **(kwargs or {}))
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        self.given = dict(zip(names, args, strict=False)) | (kwargs or {})
        raise Enough


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _by_group(layer: nn.Module, values: Tensor) -> Tensor:
    """Return an output of `layer` as (groups, channels of a group, pixels of all images)."""
    if not isinstance(layer, nn.Conv2d):
        return values.flatten(0, -2).T[None]
    grouped = values.flatten(2).unflatten(1, (layer.groups, -1))
    return grouped.permute(1, 2, 0, 3).flatten(2)
