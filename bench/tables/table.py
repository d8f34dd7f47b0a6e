"""The table of an experiment: what was measured, alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.tables.best import best_values
from bench.tables.collect import collect
from bench.tables.delta import DELTA_B_TITLE, delta_b_column
from bench.tables.notes import footnotes, heading
from bench.tables.summarise import summarise, wide


class Table(NamedTuple):
    """shown: texts. rows: numbers, for a program. missing: commands for what is not run.

    best: which of the texts may be marked as the best of their column.
    """

    shown: pd.DataFrame
    rows: pd.DataFrame
    heading: list[str]
    notes: list[str]
    missing: list[str]
    best: pd.DataFrame | None = None


def experiment_table(
    name: str, overrides: Sequence[str], results: Sequence[Result], user_configs: Path | None = None
) -> Table:
    """Return the table of the experiment called `name`.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown experiment, or cells that do not compose.
    """
    cells = collect(experiment_requests(name, overrides, user_configs), results, user_configs)
    missing = cells.loc[cells["status"].isin(["missing", "failed"]), "command"]
    shown, best = view(cells)
    return Table(shown, cells, heading(cells), footnotes(results, cells), list(missing), best)


def view(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of `cells` (of `collect`) as texts, and which of them are the best."""
    summary = summarise(cells)
    shown, best = wide(summary), best_values(cells, summary)
    delta = delta_b_column(cells)
    if delta is None:
        return shown, best
    return shown.assign(**{DELTA_B_TITLE: delta}), best.assign(**{DELTA_B_TITLE: False})
