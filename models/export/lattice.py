"""The integers behind fake-quantized weights, found from the weights themselves.

Whatever rounding has made them, and whatever came between: what lies on a grid of few steps is
integers times a step, and nothing else need be known of how it came there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_LARGEST = 512  # of the integer that the smallest weight but 0 may be
_OFF = 1e-3  # steps; another integer's fraction is at least 1 / _LARGEST away
_ULPS = 2.0**-22  # two units in the last place of float32, relative


class Lattice(NamedTuple):
    """Rows of weights (R, n) as integers (R, n) times a step (R,), float64.

    found: (R,), whether the row is that, to two units in the last place.
    """

    integers: Tensor
    step: Tensor
    found: Tensor


def lattice_of(rows: Tensor) -> Lattice:
    """Return the coarsest steps that the values of each row, (R, n), are integer multiples of.

    A row of zeros has a step of 0.
    """
    values = rows.double()
    sizes = values.abs()
    smallest = torch.where(sizes > 0, sizes, torch.inf).amin(1)
    is_zero = smallest.isinf()
    smallest = smallest.masked_fill(is_zero, 1.0)
    integers, found = torch.zeros_like(values), is_zero.clone()
    for number in range(1, _LARGEST + 1):
        left = (~found).nonzero().flatten()
        if not len(left):
            break
        steps = values[left] * (number / smallest[left])[:, None]
        nearest = steps.round()
        fits = ((steps - nearest).abs() < _OFF).all(1)
        integers[left[fits]] = nearest[fits]
        found[left[fits]] = True
    squares = integers.square().sum(1)
    step = (values * integers).sum(1) / squares.clamp(min=1)
    error = (integers * step.float()[:, None]).float().double() - values
    return Lattice(integers, step, found & (error.abs() <= _ULPS * sizes).all(1))


def without_zero(rows: Tensor, bits: int) -> Lattice:
    """Return `rows` (R, n) as odd integers times a step: grids that are symmetric and have no 0.

    Their 2^bits levels are the odd integers -(2^bits - 1)..2^bits - 1, and each row has one of the
    ends, as DoReFa's weights do. Found are rows that are that to two units in the last place of
    their largest value.
    """
    values, top = rows.double(), 2**bits - 1
    largest = values.abs().amax(1)
    step = largest / top
    integers = (values / step.clamp(min=torch.finfo(torch.float64).tiny)[:, None]).round()
    error = (integers * step[:, None] - values).abs() <= _ULPS * largest[:, None]
    odd = integers.remainder(2) == 1
    return Lattice(integers, step, (error & odd).all(1) & (largest > 0))


def widened(rows: Tensor, bits: int) -> Lattice:
    """Return `rows` (R, n), each rounded to the affine grid of 2^bits levels that contains 0.

    Its ends are the row's and 0.
    """
    values = rows.double()
    low, high = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    step = (high - low) / (2**bits - 1)
    integers = (values / step.clamp(min=torch.finfo(torch.float64).tiny)[:, None]).round()
    return Lattice(integers, step, torch.ones_like(step, dtype=torch.bool))
