"""The published numbers of a table beside what its cells measured."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd

from bench.config.files import options
from bench.papers.cells import interval
from bench.papers.definition import Definition
from bench.papers.protocol import UNKNOWN, protocol_differences
from bench.papers.published import Published, printable, select
from bench.papers.records import records
from bench.papers.verdict import Interval, Verdict, judge, judge_drop
from bench.statistics.drops import Drop, Flips, mean_drop, paired_drop
from bench.statistics.intervals import mean_and_spread
from bench.tables.cell_rows import bits_columns
from bench.tables.delta import REFERENCE, delta_b
from methods.registry import METHODS
from models.errors import BenchError
from models.quantize.spec import MIXED

FLOAT = "float"
TOP1, TOP5, TOTAL_MB, DELTA_B = "top1", "top5", "total_mb", "delta_b"
BOPS, MAP = "bops_percent", "map"
BOX_AP, MASK_AP = "box_ap", "mask_ap"
NO_METHOD = "no method here"

DROP = ("drop_published", "drop", "drop_low", "drop_high")
"""Columns of `compare_with_published`."""

_MEASURED = (TOP1, TOP5, MAP, BOX_AP, MASK_AP, TOTAL_MB, BOPS)
"""What a cell says of itself."""

OF_IMAGES = (TOP1, TOP5, MAP, BOX_AP)
"""Those with an interval over images; of masks no resamples are drawn."""

_NEAR = 0.05
"""The share of published bit operations that measured ones may be off by and are reproduced."""


def printable_numbers(definition: Definition, published: Sequence[Published]) -> list[Published]:
    """Return the published numbers that a table shows, in its order, without recalled ones.

    Raises BenchError for a field that `Published` does not have.
    """
    return [p for p in selected(definition, published) if printable(p)]


def selected(definition: Definition, published: Sequence[Published]) -> list[Published]:
    """Return the same with recalled ones."""
    numbers: dict[int, Published] = {}
    for fields in definition.select:
        sets = {k: frozenset(v) if isinstance(v, list) else v for k, v in fields.items()}
        numbers |= {id(p): p for p in select(published, sets)}
    return list(numbers.values())


def compare_with_published(
    definition: Definition, published: Sequence[Published], cells: pd.DataFrame
) -> pd.DataFrame:
    """Return one row a published number, and one a cell where the table shows no number at all.

    published: what the table shows. cells: as of `table_cells`.
    Columns: `published` (an object); the columns of `cells` (None or NaN where it has no cell);
    `mean`, `spread`, `low`, `high` and `interval` of what was measured; `difference`, measured
    minus published; `verdict`, `text` and `why` of its `Verdict`; `unknown` of its recipe;
    `drop_published`, float minus this number as published, and `drop`, `drop_low` and `drop_high`
    as measured on the same images, where both are known.

    Raises BenchError when several cells fit one published number.
    """
    measured = records(cells)
    numbers = pd.DataFrame(
        {
            "published": pd.Series(list(published), dtype=object),
            "cell": pd.Series([cell_of(p, definition, measured) for p in published], dtype=float),
        }
    )
    joined = numbers.merge(cells, how="left" if definition.select else "right", on="cell")
    rows = records(joined)
    rows = [_with_delta_b(row, rows) for row in rows]
    floats = published_floats(published)
    return pd.DataFrame([row | _verdict_of(row, definition, floats) for row in rows])


def published_floats(published: Sequence[Published]) -> dict[tuple[str, str, str], float]:
    """Return the float top-1 that is printed beside others, by paper, table and network."""
    return {
        (p.paper, p.table, p.model): p.value
        for p in published
        if p.method == FLOAT and p.metric == TOP1
    }


def cell_of(
    published: Published, definition: Definition, cells: Sequence[Mapping[Any, Any]]
) -> int | None:
    """Return the number of the cell that measures `published`; None when there is none."""
    if published.metric not in _MEASURED:
        return None
    values: dict[str, Any] = {"model": published.model, "data": published.data}
    values |= _cell_values(published, definition)
    if published.method != FLOAT:
        values |= _bits(published)
        if not values.keys() >= {"w_bits", "a_bits"}:
            return None
    fitting = [row for row in cells if _fits(row, values)]
    if len(fitting) > 1:
        raise BenchError(
            f"{len(fitting)} cells of {definition.title!r} fit its row {published.row!r} at "
            f"W{published.w_bits}A{published.a_bits}; say more of them under `cells`"
        )
    return int(fitting[0]["cell"]) if fitting else None


def _bits(published: Published) -> dict[str, Any]:
    """Return the bits that are stated, as a cell's columns have them."""
    bits: dict[str, Any] = {"w_bits": published.w_bits, "a_bits": published.a_bits}
    if None not in bits.values():
        bits = bits_columns(bits["w_bits"], bits["a_bits"], published.recipe)
    elif published.w_bits == MIXED:
        bits["w_bits"] = bits_columns(MIXED, MIXED, published.recipe)["w_bits"]
    return {key: value for key, value in bits.items() if value is not None}


def _cell_values(published: Published, definition: Definition) -> dict[str, Any]:
    default = {"method": published.method}
    by_method = definition.cells.get(published.method, default)
    values = published.recipe | {"weights": published.weights}
    same = {column: values[key] for key, column in definition.same.items() if key in values}
    return definition.cells.get(published.row, by_method) | same


def _fits(row: Mapping[Any, Any], values: Mapping[str, Any]) -> bool:
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return all(
        row.get(key) == value or (value is None and pd.isna(row.get(key)))
        for key, value in plain.items()
    )


def _with_delta_b(row: dict[Any, Any], rows: Sequence[dict[Any, Any]]) -> dict[Any, Any]:
    """Return `row`; where it publishes a Delta_B, as if one cell had measured it."""
    published = row["published"]
    if not isinstance(published, Published) or published.metric != DELTA_B:
        return row
    table = [r for r in rows if _place(r) == _place(row) and r["published"].metric == TOP1]
    row_numbers = [r for r in table if r["published"].row == published.row]
    reference = [r for r in table if r["published"].method == REFERENCE]
    if not row_numbers or any(pd.isna(r["cell"]) for r in [*row_numbers, *reference]):
        return row
    values = delta_b([r["top1"] for r in row_numbers], [r["top1"] for r in reference])
    seeds = max(r["seeds"] for r in row_numbers)
    measured = {
        "cell": row_numbers[0]["cell"],
        "seeds": seeds,
        "done": len(values),
        "top1": values,
        "status": "done" if values else "missing",
        "part": next((r["part"] for r in [*row_numbers, *reference] if r["part"]), ""),
        "result": row_numbers[0]["result"] if values else None,
        "reason": "",
        "missing": [],
    }
    return row | measured


def _place(row: Mapping[Any, Any]) -> tuple[str, str]:
    return row["published"].paper, row["published"].table


def _verdict_of(
    row: Mapping[Any, Any], definition: Definition, floats: Mapping[Any, float]
) -> dict[str, Any]:
    published = row["published"] if isinstance(row["published"], Published) else None
    nothing = dict.fromkeys(("mean", "spread", "low", "high", "interval", "difference"))
    columns: dict[str, Any] = nothing | dict.fromkeys(DROP) | {"unknown": []}
    if pd.isna(row["cell"]):
        assert published is not None
        return columns | _columns(Verdict("not here", _what_is_missing(published, definition)))
    if row["status"] != "done":
        return columns | _columns(_not_done(row["status"], row["reason"]))
    metric = TOP1 if published is None else published.metric
    values = list(row[metric if metric in _MEASURED else TOP1].values())
    if not values:
        return columns | _columns(Verdict("not here", "not recorded", f"a result has no {metric}"))
    mean, spread = mean_and_spread(values)
    around = interval(values, row["result"] if metric in OF_IMAGES else None)
    columns |= {"mean": mean, "spread": spread}
    if around is not None:
        columns |= dict(zip(("low", "high", "interval"), around, strict=True))
    if published is None:
        return columns | _columns(Verdict("unpublished", "not published"))
    columns["difference"] = mean - published.value
    float_top1 = floats.get((published.paper, published.table, published.model))
    protocol = protocol_differences(published, row["result"], float_top1)
    columns["unknown"] = protocol.unknown
    drop = _drop(row["flips"], row["parts"]) if metric == TOP1 else None
    if drop is not None and float_top1 is not None:
        columns |= dict(zip(DROP, (float_top1 - published.value, *drop), strict=True))
    if protocol.texts or (protocol.on_a_part and drop is None):
        why = "; ".join(protocol.texts or ["on a part of the images, and it has no paired drop"])
        return columns | _columns(Verdict("not comparable", "not comparable", why))
    if isinstance(row["part"], str) and row["part"] and not protocol.on_a_part:
        why = "on a part of the evaluation set, and no drop is published to decide by"
        return columns | _columns(Verdict("not comparable", "not comparable", why))
    if protocol.on_a_part and drop is not None:
        there = columns["drop_published"]
        return columns | _columns(judge_drop(there, Interval(*drop), definition.drop_tolerance))
    near = _NEAR * published.value if metric == BOPS else definition.tolerance
    tolerance = max(near, published.spread or 0.0)
    low, high = around[:2] if around is not None else (mean, mean)
    return columns | _columns(judge(published.value, Interval(mean, low, high), tolerance))


def _drop(flips: Mapping[int, Flips], parts: Mapping[int, Drop]) -> Drop | None:
    """Return the drop over seeds; None without one, and where seeds left out other images.

    flips: by seed. parts: of the seeds of which a part of the images was evaluated, which says how
    sure the drop on all of them is.
    """
    if parts:
        return mean_drop([parts.get(seed) or paired_drop([of]) for seed, of in flips.items()])
    seeds = list(flips.values())
    return paired_drop(seeds) if len({of.total for of in seeds}) == 1 else None


def _columns(verdict: Verdict) -> dict[str, str]:
    return {"verdict": verdict.name, "text": verdict.text, "why": verdict.why}


def _not_done(status: str, reason: str) -> Verdict:
    if status == "skipped":
        return Verdict("not here", "not applicable", reason)
    if status == "failed":
        return Verdict("failed", "failed", reason)
    return Verdict("not run", "not run")


def _what_is_missing(published: Published, definition: Definition) -> str:
    method = _cell_values(published, definition)["method"]
    if published.model == UNKNOWN:
        return "network not said"
    if published.model not in _options("model"):
        return "no network here"
    if published.data not in _options("data"):
        return "no data set here"
    is_known = method in METHODS.builtin or method in _options("method")
    return "no cell here" if is_known else NO_METHOD


@cache
def _options(group: str) -> frozenset[str]:
    return frozenset(options(group))
