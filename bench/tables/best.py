"""Which values of a table may be marked as the best, without a winner inside the noise."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import pandas as pd

from bench.statistics.intervals import CONFIDENCE, t_within
from bench.statistics.significance import ALPHA, holm
from bench.tables.headline import headlines, tasks_of
from bench.tables.pairs import split_keys
from bench.tables.summarise import row_keys, summarise, wide
from bench.tasks.registry import CLASSIFICATION

_MARK = "(best)"
_ENOUGH = 200  # degrees of freedom; more hardly change a p-value


class SeedMean(NamedTuple):
    """One value of a table: the mean headline and its standard deviation over seeds, in percent.

    spread counts only with two seeds or more. images: what each cell was measured on. error: the
    standard deviation of the mean over other draws of images; None of a share of them.
    """

    mean: float
    spread: float
    seeds: int
    images: int
    error: float | None = None


Column = Sequence[SeedMean | None]
"""The values of methods under the same conditions; None where one is not measured."""


def resolved_winners(columns: Sequence[Column]) -> list[int | None]:
    """Return for each column the index of its best value, or None where none is resolved.

    The highest mean is the best where it differs from every other value of its column, with Holm's
    correction for the number of columns. A value alone is not the best of anything.
    """
    leaders = [_leader(column) for column in columns]
    adjusted = holm([p for _, p in leaders])
    return [index if p < ALPHA else None for (index, _), p in zip(leaders, adjusted, strict=True)]


def _leader(column: Column) -> tuple[int | None, float]:
    """Return the index of the highest mean and the largest p-value of it against the others."""
    values = {index: value for index, value in enumerate(column) if value is not None}
    if len(values) < 2:
        return None, 1.0
    top = max(values, key=lambda index: values[index].mean)
    return top, max(difference_p(values[top], values[i]) for i in values if i != top)


def difference_p(first: SeedMean, second: SeedMean) -> float:
    """Return the two-sided p-value of there being no difference, from the accuracies alone.

    As if on separate images. On the same ones, whose difficulty both share, the variance of the
    difference is smaller, so this claims no more than the tests of bench.statistics.significance,
    and needs no bitmap. Where there are seeds it is Welch's t-test, its degrees of freedom rounded
    down.
    """
    middle, points = (first.mean + second.mean) / 2, abs(first.mean - second.mean)
    if first.error is None or second.error is None:
        variance = middle * (100 - middle) * (1 / first.images + 1 / second.images)
    else:
        variance = first.error**2 + second.error**2
    uncertainty = 0.0
    for side in (first, second):
        if side.seeds > 1:
            part = side.spread**2 / side.seeds
            variance += part
            uncertainty += part**2 / (side.seeds - 1)
    if variance <= 0:
        return float(points == 0)
    ratio = points / sqrt(variance)
    if uncertainty == 0:
        return 2 - 2 * NormalDist().cdf(ratio)
    return 1 - t_within(ratio, int(min(variance**2 / uncertainty, _ENOUGH)))


def best_values(cells: pd.DataFrame, summary: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return which values of `wide(summarise(cells))` may be marked: booleans of its shape."""
    marks = [_MARK if best else "" for best in best_rows(cells)]
    return wide(summarise(cells) if summary is None else summary, marks) == _MARK


def best_rows(cells: pd.DataFrame) -> list[bool]:
    """Return which rows of `summarise(cells)` may be marked, in order; `cells` of `cell_rows`.

    A column of the table has the methods of one network, data set, recipe and bit-width.
    It has no best while a cell of it is missing or failed, or when its images differ.
    """
    _, conditions = split_keys(cells)
    row = cells.groupby([*row_keys(cells), "w_bits", "a_bits"], sort=False, dropna=False).ngroup()
    column = cells.groupby(conditions, sort=False, dropna=False).ngroup()
    done = cells["status"] == "done"
    shown = cells[done].assign(value=headlines(cells[done]), error=_errors(cells[done]))
    values: dict[int, SeedMean] = {
        int(place): SeedMean(
            mean, spread, int(seeds), int(images), None if error != error else error
        )
        for place, mean, spread, seeds, images, error in shown.groupby(row[done])
        .agg({"value": ["mean", "std", "count"], "total": "first", "error": "mean"})
        .itertuples()
    }
    unfit = cells["status"].isin(["missing", "failed"]).groupby(column).any()
    unfit |= cells["images"].groupby(column).agg("nunique") > 1
    rows_of = row.groupby(column).unique()
    columns = [
        [] if unresolvable else [values.get(int(place)) for place in rows]
        for unresolvable, rows in zip(unfit, rows_of, strict=True)
    ]
    best = [False] * (int(row.max()) + 1)
    for rows, winner in zip(rows_of, resolved_winners(columns), strict=True):
        if winner is not None:
            best[int(rows[winner])] = True
    return best


def _errors(done: pd.DataFrame) -> pd.Series:
    """Return of each cell the standard deviation over draws of images that its interval says.

    NaN of a share of images, whose variance is known without.
    """
    width = 2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    errors = (done["ci_high"].astype(float) - done["ci_low"].astype(float)) / width
    return errors.where(tasks_of(done) != CLASSIFICATION)
