"""Tables by name: of a paper, published beside measured, or of an experiment, measured alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.configs import options
from bench.experiments import experiment_jobs
from bench.result import Result
from bench.tables.collect import collect
from bench.tables.comparison import FLOAT, compare, shown_numbers
from bench.tables.definition import Definition, load_definition, table_names
from bench.tables.delta import DELTA_B_TITLE, delta_b_column
from bench.tables.layout import csv_rows, layout, missing_commands
from bench.tables.measured import measured_cells, table_jobs
from bench.tables.notes import footnotes, heading, measured_on
from bench.tables.paper_notes import about_numbers, meaning
from bench.tables.published import Published, load_published
from bench.tables.summarise import summarise, wide
from bench.winners import best_values
from models.errors import BenchError
from models.registry import did_you_mean

_EACH = "bench table {} --missing prints the command of each"


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


def make_table(
    name: str, overrides: Sequence[str], results: Sequence[Result], own: Path | None = None
) -> Table:
    """Return the table called `name`, of a paper or of an experiment.

    own: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown name, or cells that do not compose.
    """
    if name in table_names():
        definition, published = load_definition(name), load_published()
        return paper_table(name, definition, published, overrides, results, own)
    experiments = options("experiment", own)
    if name not in experiments:
        known = {*experiments, *table_names()}
        raise BenchError(f"unknown table {name!r}; {did_you_mean(name, known)}")
    cells = collect(experiment_jobs(name, overrides, own), results, own)
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


def paper_rows(
    name: str,
    definition: Definition,
    published: Sequence[Published],
    overrides: Sequence[str],
    results: Sequence[Result],
    own: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells of a paper's table, one a row with a seed, and `compare` of them."""
    numbers = shown_numbers(definition, published)
    floats = not numbers or any(p.method == FLOAT for p in numbers)
    cells = collect(table_jobs(name, overrides, own, floats), results, own)
    return cells, compare(definition, numbers, measured_cells(cells, results))


def paper_table(
    name: str,
    definition: Definition,
    published: Sequence[Published],
    overrides: Sequence[str],
    results: Sequence[Result],
    own: Path | None = None,
) -> Table:
    """Return a paper's table; `name` is that of its experiment, and `published` all that is known.

    Raises BenchError as `compare`.
    """
    cells, compared = paper_rows(name, definition, published, overrides, results, own)
    shown, reasons = layout(compared, definition)
    above, recipes = [definition.title], []
    if len(cells) and (cells["status"] == "done").any():
        above += [*measured_on(cells), *meaning(definition)]
        recipes = footnotes(results, cells)
    commands = [text for row in compared.to_dict("records") for text in missing_commands(row)]
    notes = [*reasons, *about_numbers(compared, definition, published), *recipes]
    if commands:
        notes.append(f"bench run -m experiment={name} runs what is not run; {_EACH.format(name)}")
    return Table(shown, csv_rows(compared), above, notes, list(dict.fromkeys(commands)))
