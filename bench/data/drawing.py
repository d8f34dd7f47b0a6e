"""What drawn sets share: random whole numbers, digits of any size, and textures.

All that is drawn is whole numbers of a bit generator, whose stream NumPy keeps, and all that is
computed is whole numbers too, so that pixels are the same on every machine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.int64]

_INK = 32  # from which on a pixel belongs to a digit


class Draws:
    """Random whole numbers, the same on every machine for the same `seed`."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def between(self, low: int, high: int) -> int:
        """Return one of low..high."""
        return low + int(self._bits.random_raw() >> 32) % (high - low + 1)

    def many(self, low: int, high: int, *shape: int) -> Values:
        """Return an array of such."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(32)
        return low + (raw % np.uint64(high - low + 1)).astype(np.int64).reshape(shape)


def cropped(digit: Pixels) -> Values:
    """Return the part (h, w) of a digit that has ink, 0..255."""
    rows, columns = (np.flatnonzero((digit >= _INK).any(axis=axis)) for axis in (1, 0))
    part = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part.astype(np.int64)


def resized(values: Values, height: int, width: int) -> Values:
    """Return `values` (h, w, ...) as (height, width, ...), bilinear, in whole numbers."""
    return _stretched(np.swapaxes(_stretched(np.swapaxes(values, 0, 1), width), 0, 1), height)


def _stretched(values: Values, new: int) -> Values:
    """Return `values` with the first dimension brought to `new`."""
    old, one = len(values), 256
    at = ((2 * np.arange(new) + 1) * old * one) // (2 * new) - one // 2
    at = np.clip(at, 0, (old - 1) * one)
    low, part = at // one, (at % one).reshape(-1, *[1] * (values.ndim - 1))
    high = np.minimum(low + 1, old - 1)
    return (values[low] * (one - part) + values[high] * part + one // 2) // one


def texture(draws: Draws, size: int, layers: Sequence[tuple[int, int]]) -> Pixels:
    """Return a canvas (3, size, size): two colours mixed by noise of some sizes, and grain.

    layers: cells in a row of each noise, and its weight.
    """
    mix = np.zeros((size, size), dtype=np.int64)
    for cells, weight in layers:
        mix += weight * resized(draws.many(0, 255, cells, cells), size, size)
    mix = np.clip(2 * (mix // sum(weight for _, weight in layers)) - 128, 0, 255)
    base = draws.many(0, 255, 3)
    other = np.clip(base + draws.many(-60, 60, 3), 0, 255)
    colours = (base[:, None, None] * (255 - mix) + other[:, None, None] * mix) // 255
    grain = draws.many(-12, 12, 3, size, size)
    return np.clip(colours + grain, 0, 255).astype(np.uint8)
