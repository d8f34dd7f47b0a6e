"""From one row a cell to one row a method and one column a bit-width."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.stats import mean_and_spread

_AXES = ("w_bits", "a_bits", "seed")
_ASKED = ("model", "weights", "data", "method")

# What has a meaning only where another column has this value.
_ONLY_WITH = {
    "quant.rounding_iterations": ("quant.rounding", "adaround"),
    "quant.rounding_rate": ("quant.rounding", "adaround"),
}


def row_keys(cells: pd.DataFrame) -> list[str]:
    """Return the columns that tell the rows of the table apart: the method, and what else varies.

    A parameter that only some methods have does not tell them apart unless it varies within one.
    """
    keys = ["method"]
    for column in cells.columns:
        if column in _ONLY_WITH:
            other, value = _ONLY_WITH[column]
            varies = _varies(cells.loc[cells[other] == value, column])
        elif column in ("model", "weights", "data") or column.startswith(("data.", "quant.")):
            varies = _varies(cells[column])
        elif column.startswith("method."):
            varies = any(_varies(group[column]) for _, group in cells.groupby("method"))
        else:
            continue
        if varies:
            keys.append(column)
    return sorted(keys, key=lambda k: _ASKED.index(k) if k in _ASKED else len(_ASKED))


def _varies(values: pd.Series) -> bool:
    return len(values.unique()) > 1


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a table cell: the row keys, the bits, and what all seeds together came to.

    `mean` and `spread` (sample standard deviation, percent) are over the seeds that are done,
    `ci_low` and `ci_high` the Wilson interval where there is one seed. `done` of `seeds` cells
    are measured.
    """
    keys = [*row_keys(cells), "w_bits", "a_bits"]
    rows = [
        {**dict(zip(keys, values, strict=True)), **_together(group)}
        for values, group in cells.groupby(keys, sort=False, dropna=False)
    ]
    return pd.DataFrame(rows)


def _together(group: pd.DataFrame) -> dict[str, Any]:
    done = group[group["status"] == "done"]
    mean, spread = mean_and_spread(list(done["top1"])) if len(done) else (None, None)
    single = done.iloc[0] if len(done) == 1 else None
    return {
        "seeds": len(group),
        "done": len(done),
        "mean": mean,
        "spread": spread,
        "ci_low": None if single is None else single["ci_low"],
        "ci_high": None if single is None else single["ci_high"],
        "fp32_top1": done["fp32_top1"].iloc[0] if len(done) else None,
        "status": "done" if len(done) else group["status"].iloc[0],
    }


def wide(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the table that people read: texts, one column for each pair of bit-widths."""
    numbers = ("w_bits", "a_bits", *_TOGETHER)
    keys = [column for column in summary.columns if column not in numbers]
    table = summary.assign(
        bits=list(map(_bits_text, summary["w_bits"], summary["a_bits"])),
        text=[cell_text(row) for row in summary.to_dict("records")],
    )
    columns = list(dict.fromkeys(table["bits"]))
    # NaN marks a parameter that a method does not have; as a group key it would drop the row.
    table[keys] = table[keys].astype(object).where(table[keys].notna(), "")
    rows = []
    for values, group in table.groupby(keys, sort=False):
        texts = dict(zip(group["bits"], group["text"], strict=True))
        rows.append([*values, *(texts.get(bits, "") for bits in columns)])
    return pd.DataFrame(rows, columns=[*(key.split(".")[-1] for key in keys), *columns])


def _bits_text(w_bits: object, a_bits: object) -> str:
    return f"{w_bits}/A{a_bits}" if isinstance(w_bits, str) else f"W{w_bits}A{a_bits}"


_TOGETHER = ("seeds", "done", "mean", "spread", "ci_low", "ci_high", "fp32_top1", "status")


def cell_text(row: Mapping[Any, Any]) -> str:
    """Return mean and spread, or one seed's interval; what is missing is said, never hidden."""
    if not row["done"]:
        return {"missing": "not run", "skipped": "n/a"}.get(row["status"], row["status"])
    if row["spread"] is not None and pd.notna(row["spread"]):
        text = f"{row['mean']:.2f} ± {row['spread']:.2f}"
    else:
        text = f"{row['mean']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return text if row["done"] == row["seeds"] else f"{text} ({row['done']}/{row['seeds']} seeds)"
