"""Tables by name: of a paper, published beside measured, or of an experiment."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.cells.result import Result
from bench.config.files import options
from bench.papers.comparison import FLOAT, compare, shown_numbers
from bench.papers.definition import Definition, load_definition, table_names
from bench.papers.layout import csv_rows, layout, missing_commands
from bench.papers.notes import about_numbers, meaning
from bench.papers.published import Published, load_published
from bench.tables.collect import collect
from bench.tables.measured import measured_cells, table_requests
from bench.tables.notes import footnotes, measured_on
from bench.tables.table import Table, experiment_table
from models.errors import BenchError
from models.registry import did_you_mean

_EACH = "bench table {} --missing prints the command of each"


def make_table(
    name: str, overrides: Sequence[str], results: Sequence[Result], user_configs: Path | None = None
) -> Table:
    """Return the table called `name`, of a paper or of an experiment.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown name, or cells that do not compose.
    """
    if name in table_names():
        definition, published = load_definition(name), load_published()
        return paper_table(name, definition, published, overrides, results, user_configs)
    experiments = options("experiment", user_configs)
    if name not in experiments:
        known = {*experiments, *table_names()}
        raise BenchError(f"unknown table {name!r}; {did_you_mean(name, known)}")
    return experiment_table(name, overrides, results, user_configs)


def paper_rows(
    name: str,
    definition: Definition,
    published: Sequence[Published],
    overrides: Sequence[str],
    results: Sequence[Result],
    user_configs: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells of a paper's table, one a row with a seed, and `compare` of them."""
    numbers = shown_numbers(definition, published)
    floats = not numbers or any(p.method == FLOAT for p in numbers)
    cells = collect(table_requests(name, overrides, user_configs, floats), results, user_configs)
    return cells, compare(definition, numbers, measured_cells(cells, results))


def paper_table(
    name: str,
    definition: Definition,
    published: Sequence[Published],
    overrides: Sequence[str],
    results: Sequence[Result],
    user_configs: Path | None = None,
) -> Table:
    """Return a paper's table; `name` is that of its experiment, and `published` all that is known.

    Raises BenchError as `compare`.
    """
    cells, compared = paper_rows(name, definition, published, overrides, results, user_configs)
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
