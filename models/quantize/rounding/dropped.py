"""Which values are quantized where quantization is dropped at random."""

import torch
from torch import Tensor

_LEVELS = 1 << 16


def kept(x: Tensor, drop: float, draws: torch.Generator | None) -> Tensor:
    """Return 1 where a value of `x` is quantized and 0 where that is dropped, laid out as `x`.

    drop: the probability of 0, in steps of 2^-16, above 0. draws: on the device of `x`, None for
        the global one. A draw of 64 bits serves four values, in a ninth of the time of four draws.
    """
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    numbers = words.random_(-(2**63), None, generator=draws).view(torch.int16)[: x.numel()]
    below = min(round((1 - drop) * _LEVELS), _LEVELS - 1) - _LEVELS // 2
    dense = torch.empty_like(x, device="meta").stride()
    return (numbers < below).to(x.dtype).as_strided(x.shape, dense)
