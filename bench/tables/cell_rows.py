"""One row a cell: of those an experiment asks for, with their results, or of results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cells.differences import leaves, recorded_values
from bench.cells.lookup import find_results
from bench.cells.request import Request, reported_name
from bench.cells.result import COSTS, OF_PARTS, Result
from bench.config.experiments import run_command
from bench.config.schema import TORCH, Config
from bench.statistics.coco import NUMBERS as COCO_NUMBERS
from bench.tables.headline import TASK
from bench.tasks.registry import CLASSIFICATION
from models.quantize.budget import MISSED, limits_of
from models.quantize.labels import a_label, w_label
from models.quantize.rounding.registry import OF_TABLES, is_of_tables
from models.quantize.spec import MIXED, OF_BUDGET

_MEASURED = (
    *("id", "reason", "top1", "top5", "ci_low", "ci_high", "correct", "total", "classes"),
    *("fp32_top1", "fp32_expected", "weights_sha256", "logit_mse"),
    *COSTS,
)
_OF_PARTS = (*OF_PARTS, "lost", "gained")
_SECONDS = "quantize_seconds"
MISSED_TARGET = "missed_target"
_REACH = "quant.reach"
_MASKS = "mask_map"
OF_DETECTION = (
    *COCO_NUMBERS,
    *("boxes", "objects", _MASKS, "fp32_map"),
    *("quantized_weights", "quantized_multiplications", "quantized_inputs"),
)
_BUDGET = tuple(f"quant.{key}" for key in OF_BUDGET)

_PRECISION = "runtime.precision"
_ENGINE = "evaluate.engine"
UNSAID = {_REACH: "all", _PRECISION: "fp32", _ENGINE: TORCH}
"""Columns that there are only where one cell has another value than this."""
_ELSEWHERE = ("name", "label", "root")  # in the columns `method` and `data`, or no part of a cell


def cell_rows(
    requests: Sequence[Request], results: Sequence[Result], user_configs: Path | None = None
) -> pd.DataFrame:
    """Return one row a cell, in the order of `requests`: what it is, and what it came to.

    What it is: `model`, `weights`, `data`, `w_bits`, `a_bits`, `seed`, `runtime.precision` where
    one is not fp32, `evaluate.engine` where one is not torch, and every other value of its
    configuration as `data.*`, `method.*` or `quant.*` (NaN where a cell has no such value; nested
    ones under longer names, lists as tuples). Requests for the same, as `quant=w4a32` does with any
    activation range, are one row.
    Where a cell is of a part of its images, all have `part_of`, `drop_low`, `drop_high`, `lost` and
    `gained`, and where the training of one has missed a limit of its bits, `missed_target`. Of a
    cell of another task than classification it has `task`, and the numbers of that task.
    What it came to: `status` ("missing" when there is no result), `images` (fingerprint of the
    evaluation set), the numbers of `Result`, and `command`, which measures it. Which result counts
    is `find_results`'.

    user_configs: the folder of the user's own configs that they were composed with.
    """
    cells: dict[tuple[str, str], Request] = {}
    for request in requests:
        cells.setdefault((request.id, request.effective.runtime.precision), request)
    rows = []
    asked = list(cells.values())
    for request, result in zip(asked, find_results(asked, results), strict=True):
        row = _request_values(request.effective) | _result_values(result)
        row |= _task_values(request.entry.task, result)
        rows.append(row | {"command": run_command(request.overrides, user_configs)})
    return _table(rows)


def recorded_rows(results: Sequence[Result]) -> pd.DataFrame:
    """Return one row a result, as `cell_rows` does, from what its record says.

    A number of images counts where cells of one data set differ in it. There are no commands.
    """
    rows = []
    ordered = sorted(results, key=lambda result: (result.started_at, result.id))
    for result in {result.request_id: result for result in ordered}.values():
        values = recorded_values(result)
        values = {k: v for k, v in values.items() if not k.startswith(_BUDGET)}
        values |= {
            "weights": values.pop("model.weights"),
            **bits_columns(
                values.pop("quant.w_bits"), values.pop("quant.a_bits"), result.recipe.quantizer
            ),
        }
        row = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        row |= _result_values(result) | _task_values(result.task, result)
        rows.append(row | {"command": None})
    cells = _table(rows)
    counts = [key for key in ("data.limit", "data.subset") if key in cells]
    alike = [key for key in counts if (cells.groupby("data")[key].nunique() < 2).all()]
    return cells.drop(columns=alike)


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return `rows` without what says nothing in them."""
    idle = []
    if not any(isinstance(row["w_bits"], str) for row in rows):
        idle.append("quant.w_candidates")
    idle += [
        key for key, usual in UNSAID.items() if all(row.get(key, usual) == usual for row in rows)
    ]
    if not any(is_of_tables(row.get("quant.rounding", "")) for row in rows):
        idle += [f"quant.{key}" for key in OF_TABLES]
    if all(row.get("part_of") is None for row in rows):
        idle += _OF_PARTS
    if not any(row[MISSED_TARGET] for row in rows):
        idle.append(MISSED_TARGET)
    if all(row.get(_MASKS) is None for row in rows):
        idle.append(_MASKS)
    return pd.DataFrame(rows).drop(columns=idle, errors="ignore")


def _request_values(config: Config) -> dict[str, Any]:
    quant = config.quant.as_dict()
    row: dict[str, Any] = {
        "model": config.model.name,
        "weights": config.model.weights,
        "data": reported_name(config.data),
        "method": config.method["name"],
        **bits_columns(quant.pop("w_bits"), quant.pop("a_bits"), quant),
        "seed": config.seed,
        _PRECISION: config.runtime.precision,
        _ENGINE: config.evaluate.engine,
    }
    for group, values in (("data", config.data), ("method", config.method), ("quant", quant)):
        rest = {key: value for key, value in values.items() if key not in (*_ELSEWHERE, *OF_BUDGET)}
        pairs = leaves(rest, f"{group}.")
        row |= {key: tuple(value) if isinstance(value, list) else value for key, value in pairs}
    return row


def bits_columns(
    w_bits: int | str, a_bits: int | str, quantizer: Mapping[str, Any]
) -> dict[str, int | str]:
    """Return `w_bits` and `a_bits` as cells are told apart by them.

    Numbers; of mixed ones, and where activations are limited, texts with the budget: `MP2.5`.
    """
    limits = limits_of(quantizer)
    a_text = a_label(w_bits, a_bits, limits)
    return {
        "w_bits": w_label(w_bits, limits).rstrip("/") if w_bits == MIXED else w_bits,
        "a_bits": a_bits if a_text == str(a_bits) else a_text,
    }


def _result_values(result: Result | None) -> dict[str, Any]:
    if result is None:
        unknown = dict.fromkeys((*_MEASURED, *_OF_PARTS, _SECONDS))
        return {"status": "missing", "images": None} | unknown | {MISSED_TARGET: False}
    images = result.recipe.evaluation.fingerprint
    measured = {key: getattr(result, key) for key in (*_MEASURED, *_OF_PARTS)}
    seconds = {_SECONDS: result.seconds.get("quantize")}
    missed = {MISSED_TARGET: any(line.startswith(MISSED) for line in result.warnings)}
    return {"status": result.status, "images": images} | measured | seconds | missed


def _task_values(task: str, result: Result | None) -> dict[str, Any]:
    """Return what only cells of later tasks have columns for."""
    if task == CLASSIFICATION:
        return {}
    return {TASK: task} | {key: getattr(result, key, None) for key in OF_DETECTION}
