"""Join the cells an experiment asks for with the results there are."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.cell import normalised, reported_name, request_id
from bench.config import Config
from bench.experiments import Job
from bench.result import Result
from models.quantize.spec import MIXED, w_label

_MEASURED = (
    *("id", "reason", "top1", "top5", "ci_low", "ci_high", "correct", "total", "classes"),
    *("fp32_top1", "fp32_expected", "weights_sha256"),
)


def collect(jobs: Sequence[Job], results: Sequence[Result]) -> pd.DataFrame:
    """Return one row a cell, in the order of `jobs`: what it is, and what it came to.

    What it is: `model`, `weights`, `data`, `w_bits`, `a_bits`, `seed`, and every other value of
    its configuration as `data.*`, `method.*` or `quant.*` (NaN where a cell has no such value).
    What it came to: `status` ("missing" when there is no result), `images` (fingerprint of the
    evaluation set) and the numbers of `Result`. Of two results for one cell, measured on
    different copies of the data, the newer one counts.
    """
    newest = {result.request_id: result for result in sorted(results, key=_age)}
    rows = []
    for job in jobs:
        result = newest.get(request_id(job.config))
        rows.append({**_asked(job.config), **_found(result), "command": _command(job)})
    if not any(isinstance(row["w_bits"], str) for row in rows):
        for row in rows:
            del row["quant.w_candidates"]
    return pd.DataFrame(rows)


def _age(result: Result) -> str:
    return result.started_at


def _asked(config: Config) -> dict[str, Any]:
    config = normalised(config)
    quant = dict(config.quant)
    row: dict[str, Any] = {
        "model": config.model.name,
        "weights": config.model.weights,
        "data": reported_name(config.data),
        "method": config.method["name"],
        "w_bits": _w_text(quant),
        "a_bits": quant.pop("a_bits"),
        "seed": config.seed,
    }
    for group, values in (("data", config.data), ("method", config.method), ("quant", quant)):
        row |= {f"{group}.{k}": v for k, v in values.items() if k not in ("name", "label", "root")}
    return row


def _w_text(quant: dict[str, Any]) -> int | str:
    """Take the weight bits out of `quant`, and the budget that mixed ones are chosen under."""
    bits, size, mean = (quant.pop(key) for key in ("w_bits", "size_mb", "mean_bits"))
    return w_label(bits, size, mean).rstrip("/") if bits == MIXED else bits


def _found(result: Result | None) -> dict[str, Any]:
    if result is None:
        return {"status": "missing", "images": None} | dict.fromkeys(_MEASURED)
    record = result.model_dump()
    images = result.recipe["evaluation"]["fingerprint"]
    return {"status": result.status, "images": images} | {key: record[key] for key in _MEASURED}


def _command(job: Job) -> str:
    return "bench run " + " ".join(job.overrides)
