"""The table of an experiment: what was measured, alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.tables.best import best_values
from bench.tables.cell_rows import cell_rows
from bench.tables.delta import DELTA_B_TITLE, delta_b_column
from bench.tables.notes import footnotes, heading
from bench.tables.summarise import summarise, wide


@dataclass(frozen=True)
class TableSource:
    """What tables are made of.

    results: all there are, of the cells of the table and of others.
    overrides: what is typed for all cells of the table, such as `data.limit=100`.
    user_configs: a folder of the user's own configs (`--config-dir`).
    """

    results: Sequence[Result]
    overrides: Sequence[str] = ()
    user_configs: Path | None = None


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


def experiment_table(name: str, source: TableSource) -> Table:
    """Return the table of the experiment called `name`.

    Raises BenchError for an unknown experiment, or cells that do not compose.
    """
    requests = experiment_requests(name, source.overrides, source.user_configs)
    cells = cell_rows(requests, source.results, source.user_configs)
    missing = cells.loc[cells["status"].isin(["missing", "failed"]), "command"]
    texts, best = view(cells)
    notes = footnotes(source.results, cells)
    return Table(texts, cells, heading(cells), notes, list(missing), best)


def view(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of `cells` (of `cell_rows`) as texts, and which of them are the best."""
    summary = summarise(cells)
    texts, best = wide(summary), best_values(cells, summary)
    delta = delta_b_column(cells)
    if delta is None:
        return texts, best
    return texts.assign(**{DELTA_B_TITLE: delta}), best.assign(**{DELTA_B_TITLE: False})
