"""Networks that are computed in bfloat16 for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from methods.distillation.intercept import Instead
from models.tracing import Forward, replaced


@contextmanager
def computed_in(precision: torch.dtype, network: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, convolutions and linear layers of `network` are computed in `precision`.

    What lies between them takes the type of its input. float32 changes nothing.
    """
    if precision == torch.float32:
        yield
        return
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and _is_depthwise(m)]
    with (
        torch.autocast(device.type, precision),
        replaced(layers if device.type == "cpu" else [], _with_fast_gradient),
    ):
        yield


def _is_depthwise(layer: nn.Conv2d) -> bool:
    return 1 < layer.groups == layer.in_channels == layer.out_channels


def _with_fast_gradient(layer: nn.Conv2d, forward: Forward) -> Forward:
    def fast(x: Tensor) -> Tensor:
        with Instead(conv2d, _conv2d):
            return forward(x)

    return fast


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """As torch's conv2d of the same arguments."""
    plain = isinstance(padding, str) or weight.requires_grad or len(weight) != groups
    if plain or x.shape[1] != groups:
        return conv2d(x, weight, bias, stride, padding, dilation, groups)
    strides, paddings, dilations = _pair(stride), _pair(padding), _pair(dilation)
    if any(p > r for p, r in zip(paddings, _reach(weight, dilations), strict=True)):
        return conv2d(x, weight, bias, stride, padding, dilation, groups)
    return _Depthwise.apply(x, weight, bias, strides, paddings, dilations)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose gradient is one too, of the gradient spread by the stride.

    oneDNN 3 takes 10 to 100 times as long for the gradient of a bfloat16 one with a stride.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        y = conv2d(x, weight, bias, stride, padding, dilation, len(weight))
        ctx.save_for_backward(weight)
        ctx.geometry = x.shape, x.dtype, stride, padding, dilation
        return y

    @staticmethod
    def backward(ctx: Any, of_y: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        shape, dtype, stride, padding, dilation = ctx.geometry
        reach = _reach(weight, dilation)
        if stride != (1, 1):
            height, width = (shape[i + 2] + 2 * padding[i] - reach[i] for i in (0, 1))
            spread = torch.empty(
                (*shape[:2], height, width),
                dtype=of_y.dtype,
                memory_format=torch.channels_last,
            ).zero_()
            spread[:, :, :: stride[0], :: stride[1]] = of_y
            of_y = spread
        margins = [reach[i] - padding[i] for i in (0, 1)]
        mirrored = weight.to(of_y.dtype).flip(2, 3)
        of_x = conv2d(of_y, mirrored, None, 1, margins, dilation, len(weight))
        return of_x.to(dtype), None, None, None, None, None


def _reach(weight: Tensor, dilation: tuple[int, int]) -> tuple[int, int]:
    """Return the distance, in pixels, of the ends of the kernel, down and across."""
    return dilation[0] * (weight.shape[2] - 1), dilation[1] * (weight.shape[3] - 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
