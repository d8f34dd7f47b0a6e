"""What a reader must know about the numbers of a table: images, float top-1, recipe."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.result import Result
from bench.stats import wilson_interval

_METHOD_WORDS = ("name", "version")


def heading(cells: pd.DataFrame) -> list[str]:
    """Return the lines above the table: networks, images, float top-1, what a number is."""
    done = cells[cells["status"] == "done"]
    lines = []
    for (model, data), group in done.groupby(["model", "data"], sort=False):
        total, classes = int(group["total"].iloc[0]), int(group["classes"].iloc[0])
        line = f"{model} on {data}: {int(total):,} images of {int(classes)} classes"
        for top1 in group["fp32_top1"].unique():
            low, high = wilson_interval(round(top1 * total / 100), int(total))
            line += f"; float top-1 {top1:.2f} % [{low:.2f}, {high:.2f}]"
        lines.append(line)
        if len(group["images"].unique()) > 1:
            lines.append("WARNING: these cells were measured on different images")
    seeds = sorted(cells["seed"].unique())
    if len(seeds) > 1:
        numbers = ", ".join(map(str, seeds))
        lines.append(f"top-1 in %, mean ± standard deviation over seeds {numbers}")
    else:
        lines.append("top-1 in % [95 % Wilson interval]")
    return lines


def footnotes(results: Sequence[Result], cells: pd.DataFrame) -> list[str]:
    """Return the lines below the table: the recipe of each network and method, what is missing."""
    by_id = {result.id: result for result in results}
    shown = [by_id[id] for id in cells["id"].dropna() if id in by_id]
    lines = dict.fromkeys(line for result in shown for line in _recipe_lines(result))
    missing = int((cells["status"] == "missing").sum())
    failed = int((cells["status"] == "failed").sum())
    notes = list(lines)
    if missing or failed:
        notes.append(f"{missing} of {len(cells)} cells are not run, {failed} failed")
    return notes


def _recipe_lines(result: Result) -> list[str]:
    recipe: dict[str, Any] = result.recipe
    weights, quantizer = recipe["weights"], recipe["quantizer"]
    unsaid = ("w_bits", "a_bits", "fold", "size_mb", "mean_bits")
    shared = {k: v for k, v in quantizer.items() if k not in unsaid and v is not None}
    parameters = {k: v for k, v in recipe["method"].items() if k not in _METHOD_WORDS}
    return [
        f"{result.model}: {weights['source']}" + _sha256(weights["sha256"]),
        f"quantizer: {_pairs(shared)}; BatchNorm {recipe['batchnorm']}",
        f"{result.method}: {_pairs(parameters)}",
    ]


def _sha256(sha256: str | None) -> str:
    """Return the beginning of a hash in words; a network trained from scratch has none."""
    return f", sha256 {sha256[:12]}" if sha256 else ""


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} ({_pairs(value)})" if isinstance(value, dict) else f"{key} {value}"
        for key, value in values.items()
    )
