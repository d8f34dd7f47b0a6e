"""What the cells of a paper's table came to, all seeds of a cell together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cells.request import Request, experiment_requests
from bench.cells.result import Result
from bench.config.files import options
from bench.papers.records import records
from bench.statistics.drops import Drop, Flips
from bench.statistics.intervals import t_interval, wilson_interval
from bench.statistics.sequences import accuracy_sequence
from bench.tables.parts import part_text

_MIB = 2**20
_NUMBERS = {key: key for key in ("top1", "top5", "map", "bops_percent")} | {
    "box_ap": "map",
    "mask_ap": "mask_map",
}
"""Metrics of published numbers, with the column of `cell_rows` that measures them."""

_KEYS = ("model", "weights", "data", "method", "w_bits", "a_bits")


def table_requests(
    name: str, overrides: Sequence[str], user_configs: Path | None = None, floats: bool = True
) -> list[Request]:
    """Return what a table's experiment asks for; a table without an experiment asks for nothing.

    floats: put the float networks that its cells need first.

    Raises BenchError as `experiment_requests`.
    """
    if name not in options("experiment", user_configs):
        return []
    requests = experiment_requests(name, overrides, user_configs)
    return [*_float_requests(requests), *requests] if floats else requests


def _float_requests(requests: Sequence[Request]) -> list[Request]:
    """Return the float networks that `requests` need and do not ask for, each once."""
    floats: dict[str, Request] = {}
    for request in requests:
        of_float = request.as_float()
        floats.setdefault(of_float.id, of_float)
    for request in requests:
        floats.pop(request.id, None)
    return list(floats.values())


def table_cells(rows: pd.DataFrame, results: Sequence[Result]) -> pd.DataFrame:
    """Return one row a cell, whatever its seeds; `rows` as of `cell_rows`.

    Columns: what it is, as of `cell_rows`; `cell`, its number; `seeds` and `done` of them; `top1`,
    `top5`, `map`, `box_ap`, `mask_ap` and `bops_percent`, mappings of those done to percent,
    `total_mb`, to the 10^6
    bytes that weights and activations take, `flips`, to `Flips` where a result says them, and
    `parts`, to the `Drop` of those of a part of the images; `part`, what these are in words;
    `status` ("done" when one is); `result` of one that is done; `command`, which measures its first
    seed; `reason`, why one failed or has no meaning; `missing`, the commands for
    what is not run or failed.
    """
    if rows.empty:
        return pd.DataFrame({"cell": pd.Series(dtype=float)})
    groups = ("data.", "method.", "quant.", "runtime.", "evaluate.")
    keys = [key for key in rows.columns if key in _KEYS or key.startswith(groups)]
    by_id = {result.id: result for result in results}
    # Plain values, not frames of one group each: a table of 100 cells must not take half a second.
    cells: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for row in records(rows):
        values = tuple(None if _is_none(row[key]) else row[key] for key in keys)
        cells.setdefault(values, []).append(row)
    return pd.DataFrame(
        [
            {key: seeds[0][key] for key in keys} | {"cell": number} | _over_seeds(seeds, by_id)
            for number, seeds in enumerate(cells.values())
        ]
    )


def _is_none(value: Any) -> bool:
    return value is None or value != value  # NaN alone differs from itself


def _over_seeds(seeds: Sequence[Mapping[Any, Any]], by_id: Mapping[str, Result]) -> dict[str, Any]:
    done = [row for row in seeds if row["status"] == "done"]
    return {
        "seeds": len(seeds),
        "done": len(done),
        **{key: _by_seed(done, column) for key, column in _NUMBERS.items()},
        "total_mb": {
            row["seed"]: _total_mb(row) for row in done if pd.notna(row["activations_mb"])
        },
        "flips": {row["seed"]: f for row in done if (f := flips_of(by_id[row["id"]])) is not None},
        "parts": {row["seed"]: d for row in done if (d := _part(by_id[row["id"]])) is not None},
        "part": part_text(done),
        "status": "done" if done else seeds[0]["status"],
        "result": by_id[done[0]["id"]] if done else None,
        "command": seeds[0]["command"],
        "reason": next((row["reason"] for row in seeds if pd.notna(row["reason"])), ""),
        "missing": [row["command"] for row in seeds if row["status"] in ("missing", "failed")],
    }


def _by_seed(done: Sequence[Mapping[str, Any]], key: str) -> dict[int, float]:
    """Return a number of each seed that has it: cells of another task have others."""
    return {row["seed"]: row[key] for row in done if pd.notna(row.get(key))}


def flips_of(result: Result) -> Flips | None:
    """Return the images that quantization changed; None where a result does not say them."""
    if result.lost is None or result.gained is None or result.total is None:
        return None
    return Flips(result.lost, result.gained, result.total)


def _part(result: Result) -> Drop | None:
    """Return the drop of a result of a part of the images; None where it is of all."""
    flips = flips_of(result)
    if flips is None or result.drop_low is None or result.drop_high is None:
        return None
    points = 100 * (flips.lost - flips.gained) / flips.total
    return Drop(points, result.drop_low, result.drop_high)


def _total_mb(row: Mapping[Any, Any]) -> float:
    return (row["size_mb"] + row["activations_mb"]) * _MIB / 1e6


def interval(values: Sequence[float], result: Result | None) -> tuple[float, float, str] | None:
    """Return the 95 % interval of the mean of `values`, one a seed, and what kind it is.

    Of three seeds or more it is Student's, over seeds ("t"), of fewer Wilson's, over the images of
    `result` ("wilson"), of a result of a part of them one for all looks ("sequence"), or of one
    seed of a task without counts that of the result ("bootstrap"). Without `result` the values are
    not of images, and two have none.
    """
    if len(values) >= 3:
        low, high = t_interval(values)
        return (low, high, "t") if result is None else (max(low, 0.0), min(high, 100.0), "t")
    if not values or result is None:
        return None
    if result.correct is None:
        if len(values) > 1 or result.ci_low is None or result.ci_high is None:
            return None
        return result.ci_low, result.ci_high, "bootstrap"
    assert result.total is not None  # it is done
    right = round(sum(values) / len(values) * result.total / 100)
    if result.part_of is not None:
        return *accuracy_sequence(right, result.total, result.part_of), "sequence"
    return *wilson_interval(right, result.total), "wilson"
