"""Which recipes a published number may have been made with: found by measuring."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.papers.factors import Factor
from bench.statistics.drops import Flips, paired_drop
from bench.statistics.factorial import Effect, fold_over, main_effects, predicted
from bench.statistics.intervals import wilson_interval

Levels = tuple[int, ...]


class Target(NamedTuple):
    """A published top-1 and, where it is known, that of the float network beside it, in percent."""

    top1: float
    float_top1: float | None

    @property
    def drop(self) -> float | None:
        return None if self.float_top1 is None else self.float_top1 - self.top1


class Measured(NamedTuple):
    """A recipe as it was measured. correct: (images,) bool. flips: None where nothing says them."""

    id: str
    correct: np.ndarray
    flips: Flips | None


class Match(NamedTuple):
    """How a measured recipe stands to the target.

    value: its drop, or its top-1 where the target has no float number, with a 95 % interval.
    away: value minus the target's.
    """

    levels: Levels
    id: str
    value: float
    low: float
    high: float
    away: float

    @property
    def explains(self) -> bool:
        return self.low <= self.value - self.away <= self.high


def screening(factors: Sequence[Factor]) -> list[Levels]:
    """Return the recipes to measure first: the given one, and a design of resolution IV."""
    return [tuple(row) for row in fold_over(len(factors)).tolist()]


def effects_of(cells: Mapping[Levels, Measured]) -> list[Effect]:
    """Return the main effects of a screening, all of whose cells are in `cells`."""
    return main_effects(np.array(list(cells)), np.stack([c.correct for c in cells.values()]))


def nearest(cells: Mapping[Levels, Measured], target: Target) -> Levels | None:
    """Return the recipe that is not measured and is predicted nearest to the target.

    None where all are measured. cells: of a screening, and what was measured since.
    """
    done = list(cells)
    every = [row for row in itertools.product((0, 1), repeat=len(done[0])) if row not in cells]
    if not every:
        return None
    values = np.array([_value(cell, target) for cell in cells.values()])
    aim = target.top1 if target.drop is None else target.drop
    away = np.abs(predicted(np.array(done), values, np.array(every)) - aim)
    return every[int(np.argmin(away))]


def match(levels: Levels, cell: Measured, target: Target) -> Match:
    """Return how a measured recipe stands to the target.

    With a float number it is the drop that is compared, on the same images.
    """
    value = _value(cell, target)
    if target.drop is not None and cell.flips is not None:
        _, low, high = paired_drop([cell.flips])
        return Match(levels, cell.id, value, low, high, value - target.drop)
    low, high = wilson_interval(int(cell.correct.sum()), len(cell.correct))
    return Match(levels, cell.id, value, low, high, value - target.top1)


def _value(cell: Measured, target: Target) -> float:
    if target.drop is not None and cell.flips is not None:
        return 100 * (cell.flips.lost - cell.flips.gained) / cell.flips.total
    return 100 * float(cell.correct.mean())
