"""Bits that are chosen layer by layer, or output channel by output channel."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

LayerBits = int | float | Sequence[int]
"""Of the weight of a layer: one number, a mean, or one for each output channel (0: pruned)."""


class ChosenBits(NamedTuple):
    """Bits that are not all those of a spec.

    weights: of convolutions and linear layers, by name. inputs: of quantizers of activations, by
        the name of the module that they sit at.
    """

    weights: Mapping[str, LayerBits]
    inputs: Mapping[str, int] = {}


def mean_of(bits: int | float | Sequence[float]) -> int | float:
    """Return the mean over the output channels, an integer where all of them have it.

    A mean of several is a float, also where it is whole: a layer at it need not be possible.
    """
    if isinstance(bits, Sequence):
        if len(set(bits)) > 1:
            return sum(bits) / len(bits)
        bits = bits[0]
    return int(bits) if float(bits).is_integer() else bits
