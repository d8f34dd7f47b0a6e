"""What a quantized network really multiplies: seen in a pass, whatever tool has made it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.peers.base import Bits
from models.quantize.spec import FLOAT_BITS
from models.tracing import watched

_CLOSE = 0.02  # steps; float32 is off by a thousandth, and other values by half of one
_WEIGHT_AT = {"convolution": 1, "addmm": 2, "mm": 1, "linear": 1}
_INPUT_AT = {"convolution": 0, "addmm": 1, "mm": 0, "linear": 0}


class Found(NamedTuple):
    """Convolutions and linear layers, as often as they are called in a pass.

    low_weights, low_inputs: of how many of them the weights, or the inputs, are on a grid of no
    more levels than the bits have. weights: the share of all weights that are, in percent.
    """

    layers: int
    low_weights: int
    low_inputs: int
    weights: float


@torch.no_grad()
def found_in(network: nn.Module, images: Tensor, bits: Bits) -> Found:
    """Return what of `network` is quantized to `bits`, as one pass of `images` shows.

    images: (N, C, H, W) normalised; as many as make an activation take more values than its bits
    have. At 32 bits nothing counts as quantized.
    """
    layers: list[tuple[int, bool, bool]] = []

    def note(func: Any, args: Any, kwargs: Any, output: Any) -> None:
        kind = func.overloadpacket.__name__
        if kind not in _WEIGHT_AT:
            return
        weight, given = args[_WEIGHT_AT[kind]], args[_INPUT_AT[kind]]
        rows = weight.T if kind in ("addmm", "mm") else weight
        layers.append(
            (
                weight.numel(),
                on_grid(rows.flatten(1), bits.weights),
                bits.activations < FLOAT_BITS and len(given.unique()) <= 2**bits.activations,
            )
        )

    with watched(note):
        network(images)
    total = sum(size for size, _, _ in layers)
    low = sum(size for size, weights, _ in layers if weights)
    return Found(
        len(layers),
        sum(weights for _, weights, _ in layers),
        sum(inputs for _, _, inputs in layers),
        100 * low / max(total, 1),
    )


def on_grid(rows: Tensor, bits: int) -> bool:
    """Return whether each of `rows` (R, n) lies on evenly spaced levels, 2^bits of them at most.

    Where its values are evenly spaced to within some hundredths of a step: another tool's grid
    need not be whole multiples of a step to the last bit. Never at 32 bits.
    """
    if bits >= FLOAT_BITS:
        return False
    values = rows.double()
    lowest = values.amin(1, keepdim=True)
    width = (values.amax(1, keepdim=True) - lowest).clamp(min=torch.finfo(torch.float32).tiny)
    places = (values - lowest) / width
    for steps in range(2**bits - 1, 0, -1):  # most grids use most of their levels
        at = places * steps
        places = places[((at - at.round()).abs() > _CLOSE).any(1)]
        if not len(places):
            return True
    return False
