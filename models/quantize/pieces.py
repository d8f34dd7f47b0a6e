"""Several operations on a tensor, a piece at a time, so that each finds the values in the cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 2**17
"""Values of a piece for each thread; PyTorch gives a thread half as many or more. Smaller pieces
stay nearer to the core, and cost more calls."""


def worth_pieces(x: Tensor) -> bool:
    """Return whether `x` is to be taken in pieces.

    It is a plain float32 tensor of several pieces, dense in memory, on a CPU, and no operation on
    it is recorded for a gradient. A compiler makes one pass of all operations by itself.
    """
    return (
        not torch.compiler.is_compiling()  # which could not go on behind what follows
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > _size()
        and not (torch.is_grad_enabled() and x.requires_grad)
        and (x.is_contiguous() or _is_channels_last(x))
    )


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same places of several tensors as views (n,), in the order of memory.

    tensors: of one dense layout, such as `x` and `torch.empty_like(x)`.
    """
    return zip(*(_flat(tensor).split(_size()) for tensor in tensors), strict=True)


def _size() -> int:
    return PIECE * torch.get_num_threads()


def _flat(x: Tensor) -> Tensor:
    return (x if x.is_contiguous() else x.permute(0, 2, 3, 1)).view(-1)


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
