"""OMSE (Choukroun et al., ICCV Workshops 2019): the step whose grid has the least squared error.

The authors released nothing. `exact_threshold` is the optimum itself, `shrunk` what stands for it
in public: the observer of FQ-ViT.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.quantize.grid import GRIDS, fake_quantize
from models.quantize.least_error import Range

MAX_BITS = 8
"""Above, steps are so many that a sweep through them takes minutes, and nothing is to be won."""

_SHRINK_STEPS = 90
_SHRINK = 0.01  # of the range, a step
_FEW = 512  # values of a row that are swept whole; in longer ones it is first found where
_EDGES = (129, 1025)  # at which sums are taken: in short rows, and in long ones
_ROUNDS = 6
_NARROW = 0.25  # logarithm of the ratio of an interval's ends
_TINY = torch.finfo(torch.float64).tiny
_HELD = 2**23  # changes of a code that are sorted together
_SLACK = 1e-6  # of an interval's ends, beyond what rounding of the ends can lose


def exact_threshold(values: Tensor, bits: int) -> Range:
    """Return the symmetric range [-T, T], or [0, T] where none of `values` is negative.

    For n positive levels of step s the error sum (|x| - s q)^2 has the codes q = min(round(|x| /
    s), n), which change only where s = |x| / (k + 1/2). Of each set of codes the best s is sum |x|
    q / sum q^2, and what it saves (sum |x| q)^2 / sum q^2; so going through all s once, in falling
    order, with both sums at hand, finds the global optimum. T = n s may be above max |x|: then the
    highest levels are not used.

    In rows of many values most s are ruled out beforehand. Below s the slope of the error rises by
    2 |x| at each change of a code and falls by 2 sum q^2 times the distance, so sums at a few
    steps bound the error in between. And T cannot be below mean |x|.

    values: (C, n), a row a grid. bits: 2..8. Returns (low, high), both (C,).
    """
    signed = bool((values < 0).any())
    levels = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    sizes = values.abs().double()
    largest, mean = sizes.amax(1), sizes.mean(1)
    # Codes are all 0 at and above twice the largest value.
    ends = _Interval(mean / levels * (1 - _SLACK), 2 * largest * (1 + _SLACK))
    if values.shape[1] > _FEW:
        ends = _narrowed(sizes, ends, levels)
    high = (levels * _best_steps(sizes, ends, levels)).to(values.dtype)
    high = torch.where(torch.isfinite(largest), high, largest.to(values.dtype))
    return (-high if signed else torch.zeros_like(high)), high


class _Interval(NamedTuple):
    """Steps among which the best is, (C,) each."""

    low: Tensor
    high: Tensor


def _narrowed(sizes: Tensor, interval: _Interval, levels: int) -> _Interval:
    """Return a shorter interval that has the best step of each row too."""
    ordered = sizes.sort(1).values
    sums = pad(ordered.cumsum(1), (1, 0))
    energies = pad(ordered.square().cumsum(1), (1, 0))
    energy = energies[:, -1:]
    halves = torch.arange(levels).to(sizes) + 0.5
    count, total = sizes.shape[1], sums[:, -1, None, None]
    steps = sorted((*_EDGES, count // 64))[1]
    fractions = torch.linspace(1, 0, steps).to(sizes)
    for _ in range(_ROUNDS):
        low, high = (end[:, None].clamp(min=_TINY) for end in interval)
        edges = low * (high / low) ** fractions  # falling
        borders = (edges[:, :, None] * halves).flatten(1)
        below = torch.searchsorted(ordered, borders).unflatten(1, (steps, levels))
        below_sums = sums.gather(1, below.flatten(1)).unflatten(1, (steps, levels))
        products = (total - below_sums).sum(2)
        squares = ((count - below) * (2 * halves)).sum(2)
        errors = energy - 2 * edges * products + edges.square() * squares
        # What is below half a step becomes 0, and what is above the highest level is clipped to it.
        top = torch.searchsorted(ordered, levels * edges)
        tail = energy - energies.gather(1, top), total[..., 0] - sums.gather(1, top), count - top
        clipped = tail[0] - 2 * levels * edges * tail[1] + (levels * edges).square() * tail[2]
        zeroed = energies.gather(1, below[:, :, 0])
        least = _least_between(edges, errors, products, squares)
        least = torch.maximum(least, torch.maximum(clipped[:, :-1], zeroed[:, 1:]))
        # Differences of large sums are not exact: what is nearly as good stays.
        possible = least <= errors.amin(1, keepdim=True) + 1e-12 * energy
        first = possible.int().argmax(1, keepdim=True)
        last = steps - 2 - possible.flip(1).int().argmax(1, keepdim=True)
        interval = _Interval(
            (edges.gather(1, last + 1) * (1 - _SLACK)).squeeze(1),
            (edges.gather(1, first) * (1 + _SLACK)).squeeze(1),
        )
        if (interval.high / interval.low).nan_to_num(1).log().mean() < _NARROW:
            break
    return interval


def _least_between(edges: Tensor, errors: Tensor, products: Tensor, squares: Tensor) -> Tensor:
    """Return a lower bound of the error between each edge and the next, which is lower."""
    width = edges[:, :-1] - edges[:, 1:]
    slope = 2 * (edges * squares - products)[:, :-1]  # at the upper edge
    risen = slope + 2 * (products[:, 1:] - products[:, :-1])
    fallen = slope - 2 * width * squares[:, 1:]
    down, up = width * risen.clamp(min=0), width * (-fallen).clamp(min=0)
    upper, lower = errors[:, :-1], errors[:, 1:]
    crossing = ((upper - lower + up) / (down + up).clamp(min=_TINY)).clamp(0, 1)
    return torch.maximum(upper - crossing * down, lower - (1 - crossing) * up)


def _best_steps(sizes: Tensor, interval: _Interval, levels: int) -> Tensor:
    """Return the step of each row with the least error of all in its interval, (C,)."""
    low, high = (_codes(sizes, end[:, None], levels) for end in interval)
    changes = (low - high).sum(1)
    best = torch.zeros_like(interval.low)
    rows_at_once = max(1, _HELD // max(1, int(changes.max())))
    # Rows of about as many changes together: shorter ones are padded.
    for rows in changes.argsort().split(rows_at_once):
        best[rows] = _sweep(sizes[rows], high[rows].long(), low[rows].long())
    return best


def _sweep(sizes: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the best step of each row while codes rise from `start` to `end`, (C, n) each."""
    counts = end - start
    of_rows = counts.sum(1)
    element = torch.repeat_interleave(counts.flatten())
    ends = counts.flatten().cumsum(0)
    rank = torch.arange(len(element), device=sizes.device) - (ends - counts.flatten())[element]
    code = start.flatten()[element] + rank  # before the change
    size = sizes.flatten()[element]
    row = element // sizes.shape[1]
    place = torch.arange(len(element), device=sizes.device) - (of_rows.cumsum(0) - of_rows)[row]
    padded = sizes.new_zeros(3, len(sizes), int(of_rows.max()) if len(of_rows) else 0)
    padded[:, row, place] = torch.stack([size / (code + 0.5), size, 2.0 * code + 1])
    order = padded[0].argsort(1, descending=True)
    products, squares = ((padded[i].gather(1, order)).cumsum(1) for i in (1, 2))
    started = start.to(sizes)
    before = (sizes * started).sum(1, keepdim=True), started.square().sum(1, keepdim=True)
    products = torch.cat([before[0], products + before[0]], 1)
    squares = torch.cat([before[1], squares + before[1]], 1)
    saved = torch.where(squares > 0, products.square() / squares.clamp(min=1), 0)
    at = saved.argmax(1, keepdim=True)
    return (products.gather(1, at) / squares.gather(1, at).clamp(min=1)).squeeze(1)


def _codes(sizes: Tensor, step: Tensor, levels: int) -> Tensor:
    """Return how many of the changes at (k + 1/2) step lie below each value, `levels` at most."""
    return torch.nan_to_num((sizes / step - 0.5).ceil(), nan=0.0).clamp(0, levels)


def shrunk(values: Tensor, bits: int, scheme: str) -> Range:
    """Return both ends of each row's range, shrunk by the one factor that is the best for all rows.

    1.00, 0.99, ..., 0.11: of 90 factors the first with the least squared error of all values
    together, as in the release of FQ-ViT (models/ptq/observer/omse.py), which scores one number
    for the whole tensor also where each channel has a grid of its own.

    values: (C, n), a row a grid. Returns (low, high), both (C,).
    """
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    chosen, least = 1.0, torch.inf
    for step in range(_SHRINK_STEPS):
        factor = 1 - step * _SHRINK
        grid = GRIDS[scheme](low * factor, high * factor, bits)
        error = float((fake_quantize(values, grid) - values).square_().mean())
        if error < least:
            chosen, least = factor, error
    return (low * chosen).squeeze(1), (high * chosen).squeeze(1)
