"""A paper's table as people read it: its own rows and columns, then what was measured."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.papers.comparison import BOX_AP, DELTA_B, DROP, FLOAT, MAP, MASK_AP
from bench.papers.definition import Definition
from bench.papers.published import Published
from bench.papers.records import records
from models.quantize.spec import FLOAT_BITS, MIXED

_Row = Mapping[Any, Any]

_MARKS = {True: "✓", False: "✗"}
_NONE = "-"
_HEADS = {DELTA_B: "Δ_B"}


def layout(compared: pd.DataFrame, definition: Definition) -> tuple[pd.DataFrame, list[str]]:
    """Return a table of texts, and the notes that explain its verdicts.

    compared: as of `compare_with_published`.

    Without `across` it has a line a number. With it, a line for each of what is published,
    measured, the difference and the verdict of a row.
    """
    rows = records(compared)
    numbers = _numbered(row["why"] for row in rows)
    texts = [_texts(row, _decimals(rows), numbers) for row in rows]
    table = _wide(rows, texts, definition) if definition.across else _long(rows, texts, definition)
    return table, [f"[{number}] {why}" for why, number in numbers.items()]


def csv_rows(compared: pd.DataFrame) -> pd.DataFrame:
    """Return one row a number with all there is to say of it, as numbers and not as texts."""
    fields = [name for name in Published.model_fields if name not in ("value", "spread", "recipe")]
    rows = []
    every = records(compared)
    parts = any(_part(row) for row in every)
    for row in every:
        published = row["published"]
        values = published.model_dump() if isinstance(published, Published) else {}
        rows.append(
            {
                **{name: values.get(name, row.get(name)) for name in fields},
                "published": values.get("value"),
                "published_spread": values.get("spread"),
                **{f"measured_{key}": row[key] for key in ("mean", "spread", "low", "high")},
                **{key: row[key] for key in ("interval", "difference")},
                **{key: row[key] for key in DROP},
                **{key: _count(row.get(key)) for key in ("done", "seeds")},
                **({"part": _part(row)} if parts else {}),
                **{key: row[key] for key in ("verdict", "text", "why")},
                "unknown": ", ".join(row["unknown"]),
                "command": "; ".join(missing_commands(row)),
            }
        )
    return pd.DataFrame(rows, dtype=object)  # integers stay some where others are missing


def _part(row: _Row) -> str:
    """Return how many of how many images a cell has seen, where that is a part of them."""
    part = row.get("part")
    return part if isinstance(part, str) else ""


def _count(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


def missing_commands(row: Mapping[Any, Any]) -> list[str]:
    """Return the commands for what is not run of one row of `compare_with_published`."""
    missing = row.get("missing")
    return missing if isinstance(missing, list) else []


def _numbered(reasons: Iterable[str]) -> dict[str, int]:
    distinct = dict.fromkeys(reason for reason in reasons if reason)
    return {reason: number for number, reason in enumerate(distinct, start=1)}


def _decimals(rows: Sequence[_Row]) -> int:
    """Return how many decimals the table is printed with."""
    values = [row["published"].value for row in rows if isinstance(row["published"], Published)]
    return max((len(str(value).partition(".")[2]) for value in values), default=2)


def _texts(row: _Row, decimals: int, numbers: Mapping[str, int]) -> dict[str, str]:
    """Return the texts of a number; those of what is not measured are empty."""
    published = row["published"] if isinstance(row["published"], Published) else None
    value = _NONE if published is None else f"{published.value:.{decimals}f}"
    if published is not None and published.spread is not None:
        value += f" ± {published.spread:.2f}"
    texts = {
        "published": value,
        "measured": "",
        "interval": "",
        "difference": "",
        "drop": "",
        "verdict": row["text"] + (f" [{numbers[row['why']]}]" if row["why"] else ""),
    }
    if pd.notna(row["mean"]):
        seeds = f" ({int(row['done'])}/{int(row['seeds'])} seeds)"
        texts["measured"] = f"{row['mean']:.2f}" + (seeds if row["done"] < row["seeds"] else "")
        texts["measured"] += f" ({_part(row)})" if _part(row) else ""
    if pd.notna(row["low"]):
        texts["interval"] = f"[{row['low']:.2f}, {row['high']:.2f}]"
    if pd.notna(row["difference"]):
        texts["difference"] = f"{row['difference']:+.2f}"
    if pd.notna(row["drop"]):
        drop, low, high = (f"{row[key]:.2f}" for key in DROP[1:])
        texts["drop"] = f"{drop} [{low}, {high}], there {row['drop_published']:.{decimals}f}"
    return texts


def _long(rows: Sequence[_Row], texts: Sequence[_Row], definition: Definition) -> pd.DataFrame:
    table = [
        {
            **{head: _cell(row, field) for head, field in definition.columns.items()},
            _published_head(rows): text["published"],
            "measured": text["measured"],
            "95 % interval": text["interval"],
            "difference": text["difference"],
            "drop": text["drop"],
            "verdict": text["verdict"],
        }
        for row, text in zip(rows, texts, strict=True)
    ]
    shown = pd.DataFrame(table)
    return shown if any(text["drop"] for text in texts) else shown.drop(columns="drop")


def _published_head(rows: Sequence[_Row]) -> str:
    numbers = [row["published"] for row in rows if isinstance(row["published"], Published)]
    precisions = (MAP, BOX_AP, MASK_AP)
    return "mAP" if numbers and all(p.metric in precisions for p in numbers) else "Top-1"


def _wide(rows: Sequence[_Row], texts: Sequence[_Row], definition: Definition) -> pd.DataFrame:
    heads = list(dict.fromkeys(_head(row, definition) for row in rows))
    groups: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row, text in zip(rows, texts, strict=True):
        key = tuple(_cell(row, field) for field in definition.columns.values())
        groups.setdefault(key, {})[_head(row, definition)] = dict(text)
    lines = []
    for key, by_head in groups.items():
        for number, (what, line) in enumerate(_lines(by_head)):
            labels = key if number == 0 else ("",) * len(key)
            lines.append([*labels, what, *(line.get(head, "") for head in heads)])
    return pd.DataFrame(lines, columns=[*definition.columns, "", *heads])


def _lines(by_head: Mapping[str, Mapping[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """Return the lines of one row of a wide table, those without any text left out."""
    measured = {
        head: " ".join(filter(None, (text["measured"], text["interval"])))
        for head, text in by_head.items()
    }
    every = [
        ("published", {head: text["published"] for head, text in by_head.items()}),
        ("measured", measured),
        ("difference", {head: text["difference"] for head, text in by_head.items()}),
        ("drop", {head: text["drop"] for head, text in by_head.items()}),
        ("verdict", {head: text["verdict"] for head, text in by_head.items()}),
    ]
    return [(what, line) for what, line in every if any(line.values())]


def _head(row: _Row, definition: Definition) -> str:
    """Return the heading of the column that a number of a wide table stands in."""
    published = row["published"]
    if published.metric in _HEADS:
        return _HEADS[published.metric]
    if definition.across == "model":
        head = str(published.model)
    elif published.w_bits == published.a_bits == FLOAT_BITS:
        head = "float"
    else:
        head = f"W{published.w_bits}A{published.a_bits}"
    return definition.heads.get(head, head)


def _cell(row: _Row, field: str) -> str:
    """Return the text of a field of `Published` or recipe.KEY, of the cell where it is alone."""
    published, name = row["published"], field.removeprefix("recipe.")
    value: Any = None
    if isinstance(published, Published):
        value = getattr(published, field) if name == field else published.recipe.get(name)
    elif name == field or row["method"] != FLOAT:
        value = row.get(field, row.get(f"quant.{name}", row.get(f"method.{name}")))
    if isinstance(value, bool):
        return _MARKS[value]
    if value is None or value != value:
        return _NONE
    return "MP" if value == MIXED else str(value)
