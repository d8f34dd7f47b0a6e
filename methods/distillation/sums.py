"""Sums over the pixels of each image's maps, alone or together with BatchNorm, and their gradient.

On a CPU torch.var_mean takes 10 to 50 times as long as reading the tensor, and its gradient makes
four tensors of that size. What is here works through a batch in parts that stay in the cache.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

_CHUNK = 2**19
"""Elements of a part for each thread: 2 MiB of float32."""

_LARGE = {torch.float32: 2**17, torch.bfloat16: 2**15}
"""Elements of an image from which on the statistics kernel of BatchNorm is the faster one."""

_CHANNELS = 16
"""With fewer channels it is up to 5 times slower."""


class _Sums(NamedTuple):
    """Of each map: the mean, the sum of x and the sum of (x - mean)^2, each (N, C, 1, 1)."""

    mean: Tensor
    total: Tensor
    squares: Tensor


class Sums(torch.autograd.Function):
    """(N, C, H, W) float32 to the sum of x and of (x - its mean)^2 over the pixels.

    Both are (N, C, 1, 1).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        size = 1 if _is_large(x) else _size(x)
        sums = _joined([_sums(part, torch.empty_like(part)) for (part,) in _parts(size, x)])
        ctx.save_for_backward(x, sums.mean)
        return sums.total, sums.squares

    @staticmethod
    def backward(ctx: Any, of_total: Tensor, of_squares: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        offset = torch.addcmul(of_total, of_squares, mean, value=-2)
        gradient = torch.empty_like(x)
        for part, slopes, offsets, out in _parts(_size(x), x, of_squares, offset, gradient):
            torch.addcmul(offsets, part, slopes, value=2, out=out)
        return gradient


class NormaliseAndSum(torch.autograd.Function):
    """(N, C, H, W) to x * scale + shift and what `Sums` makes of x.

    scale, shift: (1, C, 1, 1) float32, without gradients. x may be bfloat16; the sums are
    accumulated in float32 and are float32.

    One gradient for all three saves a pass over x and one over their sum, and torch's gradient of
    BatchNorm, which sums over pixels as if the layer were to be trained.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
        size, parts = 1 if _is_large(x) else _size(x), []
        if x.dtype == torch.float32:
            y = torch.empty_like(x)
            for part, out in _parts(size, x, y):
                parts.append(_sums(part, out))
                torch.addcmul(shift, part, scale, out=out)
        else:
            for (part,) in _parts(size, x):
                parts.append(_sums(part, None))
            zero = torch.zeros_like(scale).flatten()
            y = batch_norm(x, zero, zero + 1, scale.flatten(), shift.flatten(), eps=0.0)
        sums = _joined(parts)
        ctx.save_for_backward(x, sums.mean, scale)
        return y, sums.total, sums.squares

    @staticmethod
    def backward(
        ctx: Any, of_y: Tensor, of_total: Tensor, of_squares: Tensor
    ) -> tuple[Tensor, None, None]:
        x, mean, scale = ctx.saved_tensors
        offset = torch.addcmul(of_total, of_squares, mean, value=-2)
        gradient = torch.empty_like(x)
        cut = _parts(_size(x), x, of_squares, offset, of_y, gradient)
        for part, slopes, offsets, of_part, out in cut:
            if x.dtype == torch.float32:
                torch.addcmul(offsets, part, slopes, value=2, out=out).addcmul_(of_part, scale)
            else:
                wide = part.float()
                torch.addcmul(offsets, wide, slopes, value=2, out=wide)
                out.copy_(wide.addcmul_(of_part.float(), scale))
        return gradient, None, None


def _sums(x: Tensor, scratch: Tensor | None) -> _Sums:
    """Return the sums of a part, which a large image is alone; `scratch`, as x, is overwritten."""
    pixels = x.shape[2] * x.shape[3]
    if _is_large(x):
        # Given float32 running statistics, here unused, it returns float32 for bfloat16 too.
        unused = x.new_zeros(x.shape[1], dtype=torch.float32)
        moments = torch.batch_norm_update_stats(x, unused, unused, 0.0)
        mean, variance = (each.view(1, -1, 1, 1) for each in moments)
        return _Sums(mean, mean * pixels, variance * pixels)
    x = x.float()
    total = x.sum(dim=(2, 3), keepdim=True)
    mean = total / pixels
    distance = torch.sub(x, mean, out=scratch)
    return _Sums(mean, total, distance.mul_(distance).sum(dim=(2, 3), keepdim=True))


def _is_large(x: Tensor) -> bool:
    elements = x.numel() // x.shape[0]
    wide = x.shape[1] >= _CHANNELS
    return wide and elements >= _LARGE.get(x.dtype, 2**63) and x.device.type == "cpu"


def _size(x: Tensor) -> int:
    """Return how many images make a part that fits the caches."""
    if x.device.type != "cpu":
        return x.shape[0]
    return max(1, _CHUNK * torch.get_num_threads() * x.shape[0] // x.numel())


def _parts(size: int, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Cut tensors along the batch into parts of `size` images."""
    if size >= tensors[0].shape[0]:
        return [tensors]
    return zip(*(each.split(size) for each in tensors), strict=True)


def _joined(parts: list[_Sums]) -> _Sums:
    return parts[0] if len(parts) == 1 else _Sums(*map(torch.cat, zip(*parts, strict=True)))
