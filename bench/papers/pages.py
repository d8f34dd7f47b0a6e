"""Pages with tables that are made of kept result files.

A page has a table between `<!-- NAME -->` and `<!-- /NAME -->`; what is between tables is prose.
`<!-- NAME top1,size_mb -->` shows these numbers, as `bench table NAME --show top1,size_mb` does.
Kept are NAME.csv, one line a cell, and NAME.md, the same cells as a table with its notes:
`bench table NAME --format csv` and `--format md`.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.tables.kept import kept_rows
from bench.tables.notes import heading
from bench.tables.numbers import TOP1
from bench.tables.render import render
from bench.tables.table import Table, shown
from models.errors import BenchError

_TABLE = re.compile(r"<!-- ((\w+)(?: ([\w,]+))?) -->\n(.*?)<!-- /\2 -->", re.DOTALL)


class Shown(NamedTuple):
    """A table of a page, and which numbers it has."""

    name: str
    numbers: tuple[str, ...] = (TOP1,)


def tables_in(page: str) -> list[Shown]:
    """Return the tables that a page shows, in order."""
    return [_shown(match) for match in _TABLE.finditer(page)]


def _shown(match: re.Match[str]) -> Shown:
    return Shown(match[2], tuple(match[3].split(","))) if match[3] else Shown(match[2])


def fill(page: str, table: Callable[[Shown], str]) -> str:
    """Return `page` with `table` of what is shown between each pair of markers."""
    return _TABLE.sub(lambda m: f"<!-- {m[1]} -->\n{table(_shown(m))}<!-- /{m[2]} -->", page)


def table_from_files(folder: Path, name: str, numbers: Sequence[str] = (TOP1,)) -> str:
    """Return the Markdown of a kept table: made of the cells of NAME.csv, with NAME.md's notes.

    numbers: which it has, as of `TableSource.show`.
    The notes say the recipes, which are in the result files and not in the CSV file.

    Raises BenchError when a file is missing or is not such a table.
    """
    cells, text = folder / f"{name}.csv", folder / f"{name}.md"
    for file in (cells, text):
        if not file.is_file():
            raise BenchError(
                f"table {name!r} is shown and {file} is missing; make it with "
                f"`bench table {name} --format {file.suffix[1:]} --out {file}`"
            )
    notes = [line[2:] for line in text.read_text("utf-8").splitlines() if line.startswith("- ")]
    try:
        frame = kept_rows(cells)
        texts, best, meaning = shown(frame, numbers)
        above = [*heading(frame), *meaning]
        return render(Table(texts, frame, above, notes, [], best), "md")
    except (LookupError, ValueError, TypeError) as error:
        raise BenchError(
            f"{cells} is not the CSV file of a table: {type(error).__name__}; make it with "
            f"`bench table {name} --format csv --out {cells}`"
        ) from error
