"""The table of an experiment, or of any cells: what was measured, alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.config.files import options
from bench.tables.best import best_values
from bench.tables.cell_rows import cell_rows, recorded_rows
from bench.tables.delta import DELTA_B_TITLE, delta_b_column
from bench.tables.join import together
from bench.tables.kept import SUFFIX, kept_rows
from bench.tables.limits import other_limits
from bench.tables.lines import lines, number_of
from bench.tables.notes import footnotes, heading
from bench.tables.numbers import NUMBERS, TOP1, check_shown, with_integers, with_numbers
from bench.tables.summarise import summarise, wide
from models.errors import BenchError
from models.registry import did_you_mean


@dataclass(frozen=True)
class TableSource:
    """What tables are made of.

    results: all there are, of the cells of the table and of others.
    overrides: what is typed for all cells of the table, such as `data.limit=100`.
    user_configs: a folder of the user's own configs (`--config-dir`).
    show: which numbers stand in the table of an experiment: `top1` and those of `numbers.NUMBERS`.
    sort: by which of them its lines are sorted, one for each bit-width, falling behind a `-`; None
        for a column for each bit-width.
    integers: what `bench verify` has kept of cells, by their ids.
    """

    results: Sequence[Result]
    overrides: Sequence[str] = ()
    user_configs: Path | None = None
    show: Sequence[str] = (TOP1,)
    sort: str | None = None
    integers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Table(NamedTuple):
    """texts: for people. rows: numbers, for a program. missing: commands for what is not run.

    best: which of the texts may be marked as the best of their column.
    """

    texts: pd.DataFrame
    rows: pd.DataFrame
    heading: list[str]
    notes: list[str]
    missing: list[str]
    best: pd.DataFrame | None = None


def cells_table(name: str, source: TableSource) -> Table:
    """Return the table of the experiment called `name`, or of that group of cells.

    Raises BenchError for an unknown name, cells that do not compose, or a number unknown to show.
    """
    return joint_table([name], source)


def joint_table(names: Sequence[str], source: TableSource) -> Table:
    """Return one table of all cells of several experiments, groups and kept tables, each cell once.

    A name that ends in `.csv` is the file of a kept table: of a cell that an experiment has and
    nobody has measured here, its row counts.

    Raises BenchError as `cells_table`, and as `kept_rows`.
    """
    check_shown(source.show)
    if source.sort is not None:
        check_shown([number_of(source.sort)], "--sort")
    configs, results = source.user_configs, source.results
    files = [name for name in names if name.endswith(SUFFIX)]
    names = [name for name in names if name not in files]
    kept = [kept_rows(Path(file)) for file in files]
    experiments = [name for name in names if name in options("experiment", configs)]
    requests = [
        request
        for name in experiments
        for request in experiment_requests(name, source.overrides, configs)
    ]
    groups = [name for name in names if name not in experiments]
    of_groups = [result for name in groups for result in group_of(name, results, configs)]
    parts = [recorded_rows(of_groups), *kept] if of_groups else kept
    if not requests:
        cells = with_integers(reduce(together, parts), source.integers)
        return _of(cells, of_groups, source.show, source.sort)
    cells = cell_rows(requests, results, configs)
    cells = with_integers(reduce(together, parts, cells), source.integers)
    missing = cells.loc[cells["status"].isin(["missing", "failed"]), "command"]
    table = _of(cells, results, source.show, source.sort)
    notes = [*table.notes, *other_limits(requests, results)]
    return table._replace(notes=notes, missing=list(missing))


def results_table(results: Sequence[Result]) -> Table:
    """Return the table of cells that are measured, whatever they were measured for."""
    return _of(recorded_rows(results), results, (TOP1,))


def group_of(name: str, results: Sequence[Result], user_configs: Path | None) -> list[Result]:
    """Return the results of the group called `name`, in the order they were begun.

    A float cell that others are compared with is theirs, and none of its own.

    Raises BenchError, with the closest name, where there is no such group.
    """
    of_group = [result for result in results if result.group == name]
    if not of_group:
        names = {*options("experiment", user_configs), *(result.group for result in results)}
        raise BenchError(f"unknown experiment {name!r}; {did_you_mean(name, names)}")
    references = {result.fp32_id for result in results}
    cells = [result for result in of_group if result.id not in references]
    return sorted(cells or of_group, key=lambda result: (result.started_at, result.id))


def _of(
    cells: pd.DataFrame, results: Sequence[Result], show: Sequence[str], sort: str | None = None
) -> Table:
    if sort is None:
        texts, best, meaning = shown(cells, show)
    else:
        names = list(dict.fromkeys([*show, number_of(sort)]))
        texts, best, cells = lines(cells, names, sort)
        meaning = _meaning(names)
    above = [*heading(cells), *meaning]
    return Table(texts, cells, above, footnotes(results, cells), [], best)


def shown(cells: pd.DataFrame, show: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the table of `cells` (of `cell_rows`) as texts, and which of them are the best.

    show: as of `TableSource`. Last comes what the numbers beside top-1 mean, a line each.
    """
    if tuple(show) == (TOP1,):
        return *view(cells), []
    summary = summarise(cells)
    texts, best = with_numbers(wide(summary), best_values(cells, summary), cells, show)
    return texts, best, _meaning(show)


def _meaning(names: Sequence[str]) -> list[str]:
    return [f"{NUMBERS[n].title}: {NUMBERS[n].meaning}" for n in names if n != TOP1]


def view(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of `cells` (of `cell_rows`) as texts, and which of them are the best."""
    summary = summarise(cells)
    texts, best = wide(summary), best_values(cells, summary)
    delta = delta_b_column(cells)
    if delta is None:
        return texts, best
    return texts.assign(**{DELTA_B_TITLE: delta}), best.assign(**{DELTA_B_TITLE: False})
