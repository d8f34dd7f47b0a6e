"""All pairs of methods of an experiment, wherever their conditions are the same."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from bench.statistics.significance import ALPHA, holm
from bench.tables.headline import tasks_of
from bench.tables.summarise import key_title, parameter_value, row_keys
from bench.tasks.base import Items
from bench.tasks.registry import task_named
from models.errors import BenchError

EQUAL, UNRESOLVED = "equal", "unresolved"

ItemsOf = Callable[[str], Items]
"""From the id of a cell to what its task has stored of each image."""

_NUMBERS = ("mean_first", "mean_second", "points", "low", "high", "p", "p_holm", "winner")


def split_keys(
    cells: pd.DataFrame, parts: Sequence[str] = ("method",)
) -> tuple[list[str], list[str]]:
    """Return the columns that name the methods of a table, and those that hold its conditions.

    Parameters of a method name it; networks, data, the quantizer and the bits are conditions.
    parts: the groups whose values are names: with `quant`, quantizers are compared too.
    """
    keys = row_keys(cells)
    methods = [key for key in keys if key.partition(".")[0] in parts]
    return methods, [*(key for key in keys if key not in methods), "w_bits", "a_bits"]


def compare_methods(
    cells: pd.DataFrame, items_of: ItemsOf, parts: Sequence[str] = ("method",)
) -> pd.DataFrame:
    """Return one row a pair of methods under the same conditions; `cells` as of `cell_rows`.

    parts: what tells methods apart, as of `split_keys`.

    Columns: the conditions, `first`, `second`, `seeds` (those that both are measured with),
    `mean_first`, `mean_second` (the headline in percent, over these seeds), `points`, `low`,
    `high` (points), `p`, `p_holm` (corrected for all rows) and `winner`: a method, EQUAL (no image
    differs) or UNRESOLVED. A pair without a common seed has no numbers (NaN or None). One image
    with several seeds says nothing of other images: UNRESOLVED, from -100 to 100 points.

    Raises BenchError when cells that should be compared were measured on different images.
    """
    methods, conditions = split_keys(cells, parts)
    rows = []
    for values, group in cells.groupby(conditions, sort=False, dropna=False):
        common = dict(zip(conditions, values, strict=True))
        sides = [side for _, side in group.groupby(methods, sort=False, dropna=False)]
        for pair in combinations(sides, 2):
            labels = dict(zip(("first", "second"), (_label(s, methods) for s in pair), strict=True))
            rows.append(common | labels | _compare(*pair, items_of))
    columns = [*conditions, "first", "second", "seeds", *_NUMBERS]
    return _corrected(pd.DataFrame(rows, columns=columns))


def _label(side: pd.DataFrame, methods: list[str]) -> str:
    row = side.iloc[0]
    parameters = [(key_title(k), row[k]) for k in methods if k != "method" and pd.notna(row[k])]
    extra = [f"{key}={parameter_value(value)}" for key, value in parameters]
    return " ".join([row["method"], *extra])


def _compare(first: pd.DataFrame, second: pd.DataFrame, items_of: ItemsOf) -> dict[str, Any]:
    done = [side[side["status"] == "done"].set_index("seed") for side in (first, second)]
    seeds = [seed for seed in done[0].index if seed in done[1].index]
    if not seeds:
        return {"seeds": 0}
    shared = pd.concat([side.loc[seeds] for side in done])
    if len(shared["images"].unique()) > 1:
        raise BenchError(
            f"cells {', '.join(shared['id'])} were measured on different images; measure them "
            "again on one copy of the data, with force=true"
        )
    task = task_named(tasks_of(shared).iloc[0])
    items = task.common([items_of(id) for side in done for id in side.loc[seeds, "id"]])
    a, b = items[: len(seeds)], items[len(seeds) :]
    means = {"mean_first": task.mean(a), "mean_second": task.mean(b)}
    same = all(task.changed(*pair) == 0 for pair in zip(a, b, strict=True))
    equal = EQUAL if same else None
    return {"seeds": len(seeds), **means, **task.compare(a, b)._asdict(), "winner": equal}


def _corrected(pairs: pd.DataFrame) -> pd.DataFrame:
    measured = pairs["seeds"] > 0
    pairs.loc[measured, "p_holm"] = holm(list(pairs.loc[measured, "p"]))
    pairs["winner"] = [_winner(row) for row in pairs.to_dict("records")]
    return pairs


def _winner(row: Mapping[Any, Any]) -> str | None:
    if not row["seeds"] or row["winner"] == EQUAL:
        return row["winner"] if row["seeds"] else None
    if row["p_holm"] >= ALPHA:
        return UNRESOLVED
    return row["first"] if row["points"] > 0 else row["second"]
