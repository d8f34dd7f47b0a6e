"""The table of a paper: published beside measured."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from bench.cells.request import Request
from bench.papers.cells import table_cells, table_requests
from bench.papers.comparison import FLOAT, compare_with_published, printable_numbers
from bench.papers.definition import Definition
from bench.papers.layout import csv_rows, layout, missing_commands
from bench.papers.notes import about_numbers, meaning
from bench.papers.published import Published
from bench.papers.records import records
from bench.tables.cell_rows import cell_rows
from bench.tables.limits import other_limits
from bench.tables.notes import footnotes, measured_on
from bench.tables.numbers import TOP1
from bench.tables.table import Table, TableSource
from models.errors import BenchError

_EACH = "bench table {} --missing prints the command of each"


class PaperRows(NamedTuple):
    """What a paper's table asks for, as `cell_rows`, and as `compare_with_published`."""

    requests: list[Request]
    cells: pd.DataFrame
    compared: pd.DataFrame


def paper_rows(
    name: str, definition: Definition, published: Sequence[Published], source: TableSource
) -> PaperRows:
    """Return the cells of a paper's table beside what is published."""
    numbers = printable_numbers(definition, published)
    floats = not numbers or any(p.method == FLOAT for p in numbers)
    requests = table_requests(name, source.overrides, source.user_configs, floats)
    cells = cell_rows(requests, source.results, source.user_configs)
    compared = compare_with_published(definition, numbers, table_cells(cells, source.results))
    return PaperRows(requests, cells, compared)


def paper_table(
    name: str, definition: Definition, published: Sequence[Published], source: TableSource
) -> Table:
    """Return a paper's table; `name` is that of its experiment, and `published` all that is known.

    Raises BenchError as `compare_with_published`, and where other numbers are to be shown.
    """
    if tuple(source.show) != (TOP1,) or source.sort is not None:
        option = "--show" if source.sort is None else "--sort"
        raise BenchError(
            f"{option} is for tables of what was measured; {name} has the numbers that are "
            "published"
        )
    requests, cells, compared = paper_rows(name, definition, published, source)
    texts, reasons = layout(compared, definition)
    above, recipes = [definition.title], []
    if len(cells) and (cells["status"] == "done").any():
        above += [*measured_on(cells), *meaning(definition, compared)]
        recipes = footnotes(source.results, cells)
    commands = [text for row in records(compared) for text in missing_commands(row)]
    notes = [*reasons, *about_numbers(compared, definition, published), *recipes]
    if commands:
        notes.append(f"bench run -m experiment={name} runs what is not run; {_EACH.format(name)}")
        notes += other_limits(requests, source.results)
    return Table(texts, csv_rows(compared), above, notes, list(dict.fromkeys(commands)))
