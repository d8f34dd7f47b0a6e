"""Rows of a table that was kept as a CSV file, by `bench table NAME --format csv`."""

import ast
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import BenchError

SUFFIX = ".csv"

_NEEDED = {"model", "data", "method", "w_bits", "a_bits", "seed", "status", "top1", "id"}


def kept_rows(file: Path) -> pd.DataFrame:
    """Return the rows of `cell_rows` that `file` has: one a cell.

    Raises BenchError for a file that is missing, or is not such a table.
    """
    how = f"make it with `bench table NAME --format csv --out {file}`"
    if not file.is_file():
        raise BenchError(f"there is no file {file}; {how}")
    try:
        cells = pd.read_csv(file)
    except (ValueError, OSError) as error:  # of parsing, of an encoding
        raise BenchError(f"{file} is not the CSV file of a table: {error}; {how}") from error
    lacking = _NEEDED - set(cells.columns)
    if lacking:
        raise BenchError(
            f"{file} is not the CSV file of a table: it has no column {min(lacking)}; {how}"
        )
    # One mixed-precision budget makes texts of all bit-widths of its column.
    for column in ("w_bits", "a_bits"):
        cells[column] = [int(bits) if str(bits).isdigit() else bits for bits in cells[column]]
    for column in cells.select_dtypes(["object", "string"]).columns:
        cells[column] = [_value(text) for text in cells[column]]
    return cells.copy()  # in one piece


def _value(text: Any) -> Any:
    """Return the tuple that `text` spells, or else `text`."""
    if not isinstance(text, str) or not text.startswith("("):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
