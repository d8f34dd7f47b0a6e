"""From one row a cell to one row a method and one column a bit-width."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.tables.cell_rows import MISSED_TARGET
from bench.tables.headline import float_headlines, headlines
from bench.tables.parts import part_text
from models.quantize.rounding.registry import PREFIX, ROUNDINGS, parameters
from models.quantize.spec import MIXED

_AXES = ("w_bits", "a_bits", "seed")
_FIRST = ("task", "model", "weights", "data", "method")
_OF_SOURCE = "method.source."
_SOURCE = "method.source.name"
CANDIDATES = {"quant.w_candidates": "w_bits", "quant.a_candidates": "a_bits"}


def row_keys(cells: pd.DataFrame) -> list[str]:
    """Return the columns that tell the rows of the table apart: the method, and what else varies.

    A parameter that only some methods have, or some sources of their images, does not tell them
    apart unless it varies within one, and what bits may be chosen does not where they are given.
    """
    keys = ["method"]
    owners = _with_sources(cells)
    for column in cells.columns:
        if column.startswith(f"quant.{PREFIX}"):
            heeds = _heeding(cells, column)
            varies = _varies_within(cells["quant.rounding"][heeds], cells[column][heeds])
        elif column in CANDIDATES:
            varies = candidates_vary(cells, column)
        elif column in ("task", "model", "weights", "data") or column.startswith(
            ("data.", "quant.", "runtime.", "evaluate.")
        ):
            varies = _varies(cells[column])
        elif column.startswith("method."):
            of_source = column.startswith(_OF_SOURCE) and column != _SOURCE
            varies = _varies_within(owners if of_source else cells["method"], cells[column])
        else:
            continue
        if varies:
            keys.append(column)
    return sorted(keys, key=lambda k: _FIRST.index(k) if k in _FIRST else len(_FIRST))


def key_title(key: str) -> str:
    """Return what stands above the column of a key: its last word, or of a name what it names."""
    *_, before, last = ["", *key.split(".")]
    return before if last == "name" else last


def _with_sources(cells: pd.DataFrame) -> pd.Series:
    """Return the method of each cell, with the source of its images where it has one."""
    if _SOURCE not in cells:
        return cells["method"]
    return cells["method"].str.cat(cells[_SOURCE].fillna("").astype(str), sep=" ")


def candidates_vary(cells: pd.DataFrame, column: str) -> bool:
    """Return whether cells whose bits are chosen differ in what they are chosen from.

    column: one of `CANDIDATES`.
    """
    chosen = [isinstance(bits, str) for bits in cells[CANDIDATES[column]]]
    return len(cells.loc[chosen, column].astype(str).unique()) > 1


def _heeding(cells: pd.DataFrame, column: str) -> pd.Series:
    """Return which cells have a rounding that a parameter of roundings has a meaning for."""
    field = column.removeprefix("quant.")
    roundings = cells["quant.rounding"]
    heeded = {
        name: name not in ROUNDINGS.builtin or field in parameters(name)
        for name in roundings.unique()
    }
    return roundings.map(heeded)


def _varies(values: pd.Series) -> bool:
    return len(values.unique()) > 1


def _varies_within(methods: pd.Series, values: pd.Series) -> bool:
    # By codes: a groupby costs ten times as much, and there are some fifty parameters.
    method, kinds_of_method = methods.factorize()
    value, kinds = values.factorize(use_na_sentinel=False)
    return len(np.unique(method * len(kinds) + value)) > len(kinds_of_method)


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a table cell: the row keys, the bits, and what all seeds together came to.

    `mean` and `spread` (sample standard deviation, percent) are of the headline over the seeds that
    are done, `ci_low` and `ci_high` its interval where there is one seed, `float` that of the float
    network. `done` of `seeds` cells
    are measured. `part`, where one is of a part of its images, says how many of how many. `missed`,
    where the training of one has missed a limit of its bits, says of how many of them that is so.
    """
    keys = [*row_keys(cells), "w_bits", "a_bits"]
    place = cells.groupby(keys, sort=False, dropna=False).ngroup()
    first = cells[~place.duplicated()].reset_index(drop=True)
    done = cells[cells["status"] == "done"]
    place_done = place[done.index]
    numbers = headlines(done).groupby(place_done).agg(done="count", mean="mean", spread="std")
    one = done.assign(place=place_done, float=float_headlines(done))[
        ~place_done.duplicated()
    ].set_index("place")
    one.loc[numbers["done"] > 1, ["ci_low", "ci_high"]] = None
    summary = first[[*keys, "status"]].assign(seeds=place.value_counts())
    summary = summary.join([numbers, one[["ci_low", "ci_high", "float"]]])
    summary["status"] = summary["status"].mask(summary["done"].notna(), "done")
    summary["done"] = summary["done"].fillna(0).astype(int)
    more = []
    if MISSED_TARGET in cells:
        counts = done[MISSED_TARGET].eq(True).groupby(place_done).sum()  # unlike NaN of others
        summary, more = summary.assign(missed=counts).fillna({"missed": 0}), ["missed"]
    if "part_of" in cells:
        texts = {at: part_text(of.to_dict("records")) for at, of in done.groupby(place_done)}
        summary = summary.assign(part=[texts.get(at, "") for at in summary.index])
        more.append("part")
    return summary[[*keys, *_NUMBERS, *more]]


def wide(summary: pd.DataFrame, texts: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table that people read: texts, one column for each pair of bit-widths.

    texts: what stands for each row of `summary`, where that is not `cell_text`.
    """
    if texts is None:
        texts = [cell_text(row) for row in summary.to_dict("records")]
    numbers = ("w_bits", "a_bits", *_NUMBERS, "missed", "part")
    keys = [column for column in summary.columns if column not in numbers]
    table = summary.assign(
        bits=list(map(bits_text, summary["w_bits"], summary["a_bits"])),
        text=texts,
    )
    columns = list(dict.fromkeys(table["bits"]))
    # NaN marks a parameter that a method does not have; as a group key it would drop the row.
    table[keys] = table[keys].astype(object).map(parameter_value)
    rows = []
    for values, group in table.groupby(keys, sort=False):
        at = dict(zip(group["bits"], group["text"], strict=True))
        rows.append([*values, *(at.get(bits, "") for bits in columns)])
    return pd.DataFrame(rows, columns=[*map(key_title, keys), *columns])


def parameter_value(value: Any) -> Any:
    """Return a parameter as its configuration has it, "" for none.

    Beside a NaN, pandas makes floats of integers.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return "" if value is None or value != value else value


def bits_text(w_bits: object, a_bits: object) -> str:
    """Return the heading of a column: `W4A8`, `MP4/A8`, or `MP4/AMP4` of chosen activations too."""
    activations = "MP" if a_bits == MIXED else a_bits  # in tables kept before budgets were named
    return f"{w_bits}/A{activations}" if isinstance(w_bits, str) else f"W{w_bits}A{activations}"


MISSED_MARK = "†"
"""Behind a number of which a cell has missed a limit of its bits."""

_NUMBERS = ("seeds", "done", "mean", "spread", "ci_low", "ci_high", "float", "status")


def cell_text(row: Mapping[Any, Any]) -> str:
    """Return mean and spread, or one seed's interval; what is missing is said, never hidden."""
    if not row["done"]:
        return {"missing": "not run", "skipped": "n/a"}.get(row["status"], row["status"])
    if row["spread"] is not None and pd.notna(row["spread"]):
        text = f"{row['mean']:.2f} ± {row['spread']:.2f}"
    else:
        text = f"{row['mean']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    if row.get("missed"):
        text = f"{text} {MISSED_MARK}"
    if row.get("part"):
        text = f"{text} ({row['part']})"
    return text if row["done"] == row["seeds"] else f"{text} ({row['done']}/{row['seeds']} seeds)"
