"""Weights of layers as the integers of a file: their type, scales and zero points."""

from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import NotApplicable
from models.export.lattice import lattice_of, widened, without_zero

MOST_BITS = 8
_INT4, _INT8 = (-8, 7), (-128, 127)


class Stored(NamedTuple):
    """A weight (out, in[, kh, kw]) as (integers - zero_point) * scale.

    integers: int8, within -8..7 where bits is 4. scale, zero_point: (out,), or () of one grid a
    tensor; the zero points are int8. bits: of the type they are stored in, 4 or 8.
    widened: how many output channels have another grid than in fake quantization, because theirs
        cannot be stored.
    """

    integers: Tensor
    scale: Tensor
    zero_point: Tensor
    bits: int
    widened: int = 0


def stored(
    name: str, weight: Tensor, bits: int, by_channel: bool, factor: Tensor | None = None
) -> Stored:
    """Return the fake-quantized `weight` (out, in[, kh, kw]) as integers.

    bits: of its grid. by_channel: whether each output channel has a grid.
    factor: (out,), what the channels are multiplied by afterwards; it goes into the scales, and
        where it is negative into the signs of the integers.

    Zero points are 0 where the integers allow it in all channels, because that is what kernels are
    made for; a channel that uses less than the type has is stored in finer steps, of which each
    weight takes several. A channel whose grid does not contain 0, so that its zero point would lie
    outside of the type, is rounded once more, to the grid that does. A symmetric grid with an even
    number of levels, whose zero point would be half an integer, is odd integers of half its steps:
    they take one bit more.

    Raises NotApplicable for a weight that is on no grid of 2^bits levels, such as a codebook's, and
    for one of 8 bits on such a symmetric grid.
    """
    if bits > MOST_BITS:
        raise NotApplicable(
            f"the weight of {name!r} has {bits} bits; integer kernels have 8 at most"
        )
    rows = weight.flatten(1) if by_channel else weight.reshape(1, -1)
    found, many = lattice_of(rows), 0
    bad = ~(found.found & _fits(found.integers, bits))
    type_bits = bits
    if bool(bad.any()) and bool((odd := without_zero(rows[bad], bits)).found.all()):
        if bits == MOST_BITS:
            raise NotApplicable(
                f"the weight of {name!r} is on a symmetric grid of {2**bits} levels without 0: its "
                f"zero point would be half an integer, and {bits + 1} bits are more than integer "
                f"kernels have; train with fewer bits, or with qat.scheme=modified"
            )
        found.integers[bad], found.step[bad] = odd.integers, odd.step
        type_bits = bits + 1
    elif bool(bad.any()):
        one_sided = (rows[bad] >= 0).all(1) | (rows[bad] <= 0).all(1)
        if not bool(one_sided.all()):
            raise NotApplicable(
                f"the weight of {name!r} is on no grid of {2**bits} levels, as a codebook, a "
                "correction of weights or an outlier makes it; it cannot be exported as integers"
            )
        many, wider = int(bad.sum()), widened(rows[bad], bits)
        found.integers[bad], found.step[bad] = wider.integers, wider.step
    integers, step = found.integers, found.step
    if factor is not None:
        if not by_channel:
            integers, step = integers.view(len(weight), -1), step.expand(len(weight))
        integers = integers * torch.sign(factor)[:, None].to(integers)
        step = step * factor.abs().to(step)
    made = _typed(integers, step, type_bits)
    shape = () if not by_channel and factor is None else (len(weight),)
    return Stored(
        made.integers.to(torch.int8).view(weight.shape),
        made.scale.view(shape),
        made.zero_point.to(torch.int8).view(shape),
        made.bits,
        many,
    )


def _fits(integers: Tensor, bits: int) -> Tensor:
    """Return, by row, whether there are no more levels than `bits` have, and a zero point."""
    low, high = integers.amin(1), integers.amax(1)
    least, most = _INT8
    if bits > 4:  # a zero point of the same type is taken from them
        least, most = least - most, most - least
    return (high - low < 2**bits) & (low >= least) & (high <= most)


def _typed(integers: Tensor, step: Tensor, bits: int) -> Stored:
    low, high = integers.amin(1), integers.amax(1)
    least, most = _INT4 if bits <= 4 else _INT8
    if bool((low >= least).all() and (high <= most).all()):
        if bits > 4:  # more than the grid's would make sums overflow more easily
            most = 2 ** (bits - 1) - 1
            least = -most
        # As fine as the type allows: biases are rounded to multiples of this step.
        finer = torch.minimum(most / high.clamp(min=1), least / low.clamp(max=-1))
        finer = finer.floor().clamp(min=1)
        integers, step = integers * finer[:, None], step / finer
        zero_point = torch.zeros_like(step)
    else:
        # The nearest to 0 with which the row fits the type.
        zero_point = torch.clamp(torch.zeros_like(low), min=least - low)
        zero_point = torch.minimum(zero_point, most - high)
    scale = _usable(step).float()
    integers = integers + zero_point[:, None]
    return Stored(integers, scale, zero_point, 4 if bits <= 4 else 8)


def _usable(step: Tensor) -> Tensor:
    """Return `step` with those of rows of zeros set to the smallest of the others, or 1."""
    known = step[step > 0]
    return step.where(step > 0, known.min() if len(known) else step.new_ones(()))
