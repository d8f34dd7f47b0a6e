"""The clipping range whose grid has the least squared error.

What is scored is the grid that is then used: that of the scheme, with 0 inside where it must be. No
range is worse than the one from the smallest to the largest value, which is among the candidates.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from models.quantize.grid import GRIDS, fake_quantize

Range = tuple[Tensor, Tensor]

_RELEASE_STEPS = 80
_RELEASE_SHRINK = 0.01  # of the range, a step
_STEPS = 80
_STEPS_OF_AN_END = 40
_REFITS = 3


def largest_value(values: Tensor, bits: int) -> Range:
    """Return the affine range of an activation: the smallest value and the best of 80 upper ends.

    Each end is 1 % of the range below the one before, as in the DSG release (quant_modules.py,
    QuantAct, `mse`). Unlike there, 0 is in the range when it is scored, and not only afterwards.

    values: (C, n), a row a grid. Returns (low, high), both (C,).
    """
    low, high = values.amin(1, keepdim=True).clamp(max=0), values.amax(1, keepdim=True).clamp(min=0)
    steps = range(_RELEASE_STEPS)
    ends = ((high - (high - low) * step * _RELEASE_SHRINK).clamp(min=0) for step in steps)
    return _columns(_best(values, bits, "affine", ((low, end) for end in ends)))


def both_ends(values: Tensor, bits: int) -> Range:
    """Return the affine range of a weight: both ends shrink together, then each alone.

    values: (C, n), a row a grid. Returns (low, high), both (C,).
    """
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    centre = values.mean(1, keepdim=True)
    spread = (values - centre).abs().mean(1, keepdim=True)

    def best(candidates: Iterable[Range]) -> Range:
        return _best(values, bits, "affine", candidates)

    def nearer(end: Tensor, steps: int) -> Iterator[Tensor]:
        return (centre + (end - centre) * f for f in _factors(spread, (end - centre).abs(), steps))

    ends = zip(nearer(low, _STEPS), nearer(high, _STEPS), strict=True)
    low, high = best(ends)
    for _ in range(2):
        low, high = best((low, end) for end in nearer(high, _STEPS_OF_AN_END))
        low, high = best((end, high) for end in nearer(low, _STEPS_OF_AN_END))
    return _columns((low, high))


def threshold(values: Tensor, bits: int) -> Range:
    """Return the symmetric range [-T, T], or [0, T] where none of `values` is negative.

    The best T is a mean of |x| weighted by the levels of the values, which rise with |x|: it lies
    between mean |x| and max |x|. There 80 thresholds in equal ratios are scored, and the best is
    refitted to its levels by least squares, three times.

    values: (C, n), a row a grid. Returns (low, high), both (C,).
    """
    size = values.abs()
    largest, mean = size.amax(1, keepdim=True), size.mean(1, keepdim=True)
    signed = bool((values < 0).any())

    def around_zero(end: Tensor) -> Range:
        return (-end if signed else torch.zeros_like(end)), end

    def best(ends: Iterable[Tensor]) -> Range:
        return _best(values, bits, "symmetric", map(around_zero, ends))

    low, high = best(largest * f for f in _factors(mean, largest, _STEPS))
    for _ in range(_REFITS):
        levels = fake_quantize(values, GRIDS["symmetric"](low, high, bits))
        energy = levels.square().sum(1, keepdim=True)
        fit = high * (values * levels).sum(1, keepdim=True) / energy
        low, high = best([high, torch.where(energy > 0, fit, high)])
    return _columns((low, high))


def _factors(least: Tensor, largest: Tensor, steps: int) -> Iterator[Tensor]:
    """Yield `steps` factors in equal ratios, from 1 down to `least` / `largest`; all (C, 1)."""
    ratio = torch.where(largest > 0, least / largest, 1).clamp(max=1)
    return (ratio ** (step / (steps - 1)) for step in range(steps))


def _best(values: Tensor, bits: int, scheme: str, candidates: Iterable[Range]) -> Range:
    """Return of `candidates`, pairs of (C, 1), the first with the least error, row by row."""
    chosen: Range | None = None
    least = torch.full_like(values[:, :1], torch.inf)
    for low, high in candidates:
        error = values - fake_quantize(values, GRIDS[scheme](low, high, bits))
        mean = error.square_().mean(1, keepdim=True)
        if chosen is None:
            chosen = (low, high)
        is_better = mean < least
        chosen = torch.where(is_better, low, chosen[0]), torch.where(is_better, high, chosen[1])
        least = torch.minimum(least, mean)
    assert chosen is not None
    return chosen


def _columns(ends: Range) -> Range:
    return ends[0].squeeze(1), ends[1].squeeze(1)
