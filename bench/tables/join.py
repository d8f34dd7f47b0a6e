"""Cells of several tables in one, each once."""

from typing import Any

import pandas as pd

from bench.tables.cell_rows import UNSAID

_GROUPS = ("data", "method", "quant", "runtime", "evaluate")
_NAMES = ("model", "weights", "data", "method", "w_bits", "a_bits", "seed")


def together(asked: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both (of `cell_rows`), without those of the second that the first has.

    A cell of the first that is not measured gives its place to one of the second that differs from
    it in nothing that both say.
    """
    new = recorded[~recorded["id"].isin(asked["id"])]
    keys = [str(key) for key in asked.columns if _is_key(str(key)) and key in recorded]
    keys = [*dict.fromkeys([*keys, *UNSAID])]
    measured = new[new["status"].eq("done")]
    places = dict(zip(_spelled(measured, keys), measured.index, strict=True))
    found = {
        number: places[row]
        for number, (row, status) in enumerate(
            zip(_spelled(asked, keys), asked["status"], strict=True)
        )
        if status != "done" and row in places
    }
    kept = pd.concat([asked, new.loc[list(found.values())]], ignore_index=True)
    order = list(range(len(asked)))
    for further, number in enumerate(found):
        order[number] = len(asked) + further
    rest = new.drop(index=list(found.values()))
    cells = pd.concat([kept.iloc[order], rest], ignore_index=True)
    # What one of them has no column for is no other value than None.
    of_groups = [key for key in cells.columns.astype(str) if _is_of_group(key)]
    values = cells[of_groups].astype(object).where(cells[of_groups].notna(), None)
    return pd.concat([cells.drop(columns=of_groups), values], axis=1)[cells.columns].copy()


def _is_of_group(key: str) -> bool:
    return key.partition(".")[0] in _GROUPS


def _is_key(key: str) -> bool:
    return key in _NAMES or _is_of_group(key)


def _spelled(cells: pd.DataFrame, keys: list[str]) -> list[tuple[str, ...]]:
    """Return the values of each row as texts, alike whether or not they went through a file."""
    said = cells.reindex(columns=keys).fillna(value=UNSAID)
    return [tuple(map(_text, row)) for row in said.itertuples(index=False, name=None)]


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_text, value))})"
    if value is None or value != value:
        return ""
    try:
        return f"{float(value):.12g}" if not isinstance(value, bool) else str(value)
    except ValueError:
        return str(value)
