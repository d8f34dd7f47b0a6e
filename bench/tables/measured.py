"""What the cells of a paper's table came to, all seeds of a cell together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cells.cell import float_config, request_id
from bench.cells.result import Result
from bench.config.experiments import Job, experiment_jobs
from bench.config.files import options
from bench.statistics.intervals import t_interval, wilson_interval

_ASKED = ("model", "weights", "data", "method", "w_bits", "a_bits")


def table_jobs(
    name: str, overrides: Sequence[str], user_configs: Path | None = None, floats: bool = True
) -> list[Job]:
    """Return the jobs of a table's experiment; a table without an experiment has none.

    floats: put the float networks that they need first.

    Raises BenchError as `experiment_jobs`.
    """
    if name not in options("experiment", user_configs):
        return []
    jobs = experiment_jobs(name, overrides, user_configs)
    return [*_float_jobs(jobs), *jobs] if floats else jobs


def _float_jobs(jobs: Sequence[Job]) -> list[Job]:
    found: dict[str, Job] = {}
    for job in jobs:
        words = [word for word in job.overrides if not word.startswith(("quant=", "quant."))]
        config = float_config(job.config)
        found.setdefault(request_id(config), Job([*words, "quant=fp32"], config))
    asked = {request_id(job.config) for job in jobs}
    return [job for id, job in found.items() if id not in asked]


def measured_cells(rows: pd.DataFrame, results: Sequence[Result]) -> pd.DataFrame:
    """Return one row a cell, whatever its seeds; `rows` as of `collect`.

    Columns: what it is, as of `collect`; `cell`, its number; `seeds` and `done` of them; `top1`, a
    mapping of those done to percent; `status` ("done" when one is); `result`, the record of one
    that is done; `reason`, why one failed or has no meaning; `missing`, the commands for what is
    not run or failed.
    """
    if rows.empty:
        return pd.DataFrame({"cell": pd.Series(dtype=float)})
    groups = ("data.", "method.", "quant.", "runtime.")
    asked = [key for key in rows.columns if key in _ASKED or key.startswith(groups)]
    by_id = {result.id: result for result in results}
    # Plain values, not frames of one group each: a table of 100 cells must not take half a second.
    numbers = rows.groupby(asked, sort=False, dropna=False).ngroup()
    cells: dict[int, list[dict[Any, Any]]] = {}
    for number, record in zip(numbers, rows.to_dict("records"), strict=True):
        cells.setdefault(number, []).append(record)
    return pd.DataFrame(
        [
            {key: seeds[0][key] for key in asked} | {"cell": number} | _together(seeds, by_id)
            for number, seeds in cells.items()
        ]
    )


def _together(seeds: Sequence[Mapping[Any, Any]], by_id: Mapping[str, Result]) -> dict[str, Any]:
    done = [row for row in seeds if row["status"] == "done"]
    return {
        "seeds": len(seeds),
        "done": len(done),
        "top1": {row["seed"]: row["top1"] for row in done},
        "status": "done" if done else seeds[0]["status"],
        "result": by_id[done[0]["id"]] if done else None,
        "reason": next((row["reason"] for row in seeds if pd.notna(row["reason"])), ""),
        "missing": [row["command"] for row in seeds if row["status"] in ("missing", "failed")],
    }


def interval(values: Sequence[float], result: Result | None) -> tuple[float, float, str] | None:
    """Return the 95 % interval of the mean of `values`, one a seed, and what kind it is.

    Of three seeds or more it is Student's, over seeds ("t"), of fewer Wilson's, over the images of
    `result` ("wilson"). Without `result` the values are no shares of images, and two have none.
    """
    if len(values) >= 3:
        low, high = t_interval(values)
        return (low, high, "t") if result is None else (max(low, 0.0), min(high, 100.0), "t")
    if not values or result is None:
        return None
    assert result.total is not None  # it is done
    right = round(sum(values) / len(values) * result.total / 100)
    return *wilson_interval(right, result.total), "wilson"
