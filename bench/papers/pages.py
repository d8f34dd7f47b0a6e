"""Pages with tables that are made of kept result files.

A page has a table between `<!-- NAME -->` and `<!-- /NAME -->`; what is between tables is prose.
Kept are NAME.csv, one line a cell, and NAME.md, the same cells as a table with its notes:
`bench table NAME --format csv` and `--format md`.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from bench.tables.notes import heading
from bench.tables.render import render
from bench.tables.table import Table, view
from models.errors import BenchError

_TABLE = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)


def table_names_in(page: str) -> list[str]:
    """Return the names of the tables that a page shows, in order."""
    return [match.group(1) for match in _TABLE.finditer(page)]


def fill(page: str, table: Callable[[str], str]) -> str:
    """Return `page` with `table(NAME)` between each pair of markers."""
    return _TABLE.sub(lambda m: f"<!-- {m[1]} -->\n{table(m[1])}<!-- /{m[1]} -->", page)


def table_from_files(folder: Path, name: str) -> str:
    """Return the Markdown of a kept table: made of the cells of NAME.csv, with NAME.md's notes.

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
        frame = _read(cells)
        texts, best = view(frame)
        return render(Table(texts, frame, heading(frame), notes, [], best), "md")
    except (LookupError, ValueError, TypeError) as error:
        raise BenchError(
            f"{cells} is not the CSV file of a table: {type(error).__name__}; make it with "
            f"`bench table {name} --format csv --out {cells}`"
        ) from error


def _read(file: Path) -> pd.DataFrame:
    cells = pd.read_csv(file)
    # One mixed-precision budget makes texts of all bit-widths of its column.
    cells["w_bits"] = [int(bits) if str(bits).isdigit() else bits for bits in cells["w_bits"]]
    return cells
