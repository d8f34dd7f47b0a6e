"""What a reader must know about the numbers of a table: images, float top-1, recipe."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.cells.result import Result
from bench.statistics.intervals import wilson_interval
from bench.tables.cell_rows import MISSED_TARGET
from bench.tables.headline import float_headlines, metrics_of, tasks_of, titles
from bench.tables.summarise import MISSED_MARK
from bench.tasks.registry import CLASSIFICATION
from models.quantize.spec import FLOAT_BITS, OF_BUDGET

_METHOD_WORDS = ("name", "version")
_MANY = 5
_NAMES = re.compile(r"'[^']*'(?:, '[^']*')*(?: and \d+ more)?")


def heading(cells: pd.DataFrame) -> list[str]:
    """Return the lines above the table: networks, images, float number, what a number is."""
    seeds, metrics = sorted(cells["seed"].unique()), metrics_of(cells)
    if len(seeds) > 1:
        of_seeds = f"mean ± standard deviation over seeds {_numbers(seeds)}"
        meaning = f"{titles(metrics)} in %, {of_seeds}"
    else:
        meaning = f"{titles(metrics)} in % [95 % {' or '.join(m.interval for m in metrics)}]"
    return [*measured_on(cells), meaning]


def measured_on(cells: pd.DataFrame) -> list[str]:
    """Return a line a network and data set: its images and its float number."""
    done = cells[cells["status"] == "done"]
    done = done.assign(float=float_headlines(done))
    lines = []
    for (model, data), group in done.groupby(["model", "data"], sort=False):
        sizes = group["total"]
        if "part_of" in group:
            sizes = group["part_of"].fillna(sizes)
        total, classes = int(sizes.iloc[0]), int(group["classes"].iloc[0])
        line = f"{model} on {data}: {int(total):,} images of {int(classes)} classes"
        for value in group["float"].dropna().unique():
            line += f"; float {titles(metrics_of(group))} {value:.2f} %"
            line += _interval(group, value, total)
        lines.append(line)
        parts = int(group["part_of"].notna().sum()) if "part_of" in group else 0
        if parts:
            cells_are = "cell is" if len(group) == 1 else "cells are"
            lines.append(
                f"{parts} of {len(group)} {cells_are} of a part of these images (evaluate.until); "
                "their interval of top-1 holds however often one looked before"
            )
        if len(group["images"].unique()) > 1:
            lines.append("WARNING: these cells were measured on different images")
    return lines


def _interval(group: pd.DataFrame, value: float, total: int) -> str:
    """Return the 95 % interval of a float network's number, where it is known."""
    if set(tasks_of(group)) == {CLASSIFICATION}:
        low, high = wilson_interval(round(value * total / 100), total)
        return f" [{low:.2f}, {high:.2f}]"
    floats = group[group["method"] == "float"]
    return "".join(
        f" [{low:.2f}, {high:.2f}]"
        for low, high in zip(floats["ci_low"][:1], floats["ci_high"][:1], strict=True)
    )


def _numbers(seeds: Sequence[int]) -> str:
    """Return them all, or of many without a gap the first and the last."""
    if len(seeds) > _MANY and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def footnotes(results: Sequence[Result], cells: pd.DataFrame) -> list[str]:
    """Return the lines below the table: the recipe of each network and method, what is missing."""
    by_id = {result.id: result for result in results}
    table_results = [by_id[id] for id in cells["id"].dropna() if id in by_id]
    lines = dict.fromkeys(line for result in table_results for line in _recipe_lines(result))
    missing = int((cells["status"] == "missing").sum())
    failed = int((cells["status"] == "failed").sum())
    notes = [*warning_lines([each.warnings for each in table_results]), *lines]
    if MISSED_TARGET in cells and (missed := int(cells[MISSED_TARGET].eq(True).sum())):
        notes.append(
            f"{MISSED_MARK} the training of a cell ended above a limit of its bits, {missed} of "
            f"{len(cells)} cells; --show size_mb,activations_mb shows what they came to"
        )
    if missing or failed:
        notes.append(f"{missing} of {len(cells)} cells are not run, {failed} failed")
    return notes


def warning_lines(of_cells: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each warning of cells, with how many have it where not all do.

    Warnings that differ only in what is named, as layers are in quotes, are one line with the names
    that most of these cells have.
    """
    alike: dict[tuple[str, int], Counter[str]] = {}
    for warnings in of_cells:
        kinds = Counter[str]()
        for line in dict.fromkeys(warnings):
            kind = _NAMES.sub("", line)
            # A second one of its kind is another thing that the same cell says.
            alike.setdefault((kind, kinds[kind]), Counter())[line] += 1
            kinds[kind] += 1
    lines = []
    for counts in alike.values():
        cells, (example, _) = counts.total(), counts.most_common(1)[0]
        share = "" if cells == len(of_cells) else f", {cells} of {len(of_cells)} cells"
        others = " (an example: cells differ in which)" if len(counts) > 1 else ""
        lines.append(f"WARNING{share}: {example}{others}")
    return lines


def _recipe_lines(result: Result) -> list[str]:
    recipe, weights = result.recipe, result.recipe.weights
    elsewhere = ("w_bits", "a_bits", "fold", *OF_BUDGET)
    shared = {k: v for k, v in recipe.quantizer.items() if k not in elsewhere and v is not None}
    network = f"{result.model}: {weights.source}" + _sha256(weights.sha256)
    without = [f"{result.data}: {result.left_out:,} images cannot be decoded and are left out"]
    images = without if result.left_out else []
    # Said where it is not float32.
    if recipe.matrix_products is not None:
        images.append(f"matrix products in {recipe.matrix_products}")
    if recipe.evaluation.engine is not None:
        images.append(f"integers, evaluated by {recipe.evaluation.engine}")
    if (result.w_bits, result.a_bits) == (FLOAT_BITS, FLOAT_BITS):
        return [network, *images]
    parameters = {k: v for k, v in recipe.method.items() if k not in _METHOD_WORDS}
    precision = recipe.calibration.synthesis_precision
    if precision is not None:
        parameters["synthesis_precision"] = precision
    # What several methods share, such as the schedule of a training, is a line of its own.
    parts = {k: v for k, v in parameters.items() if isinstance(v, Mapping)}
    plain = {k: v for k, v in parameters.items() if k not in parts}
    return [
        network,
        *images,
        f"quantizer: {_pairs(_with_effect(shared))}; BatchNorm {recipe.batchnorm}",
        *_quantized(result),
        *(f"{name}: {_pairs(values)}" for name, values in parts.items()),
        f"{result.method}: {_pairs(plain)}",
    ]


def _quantized(result: Result) -> list[str]:
    """Return how much of the network is quantized, where that was counted."""
    by_weight, by_input = result.quantized_multiplications, result.quantized_inputs
    if by_weight is None or by_input is None:
        return []
    parts = []
    if result.w_bits != FLOAT_BITS:
        parts.append(f"{result.quantized_weights:.1f} % of the weights")
        parts.append(f"the weight of {by_weight:.1f} % of the multiplications")
    if result.a_bits != FLOAT_BITS:
        parts.append(f"the input of {by_input:.1f} % of the multiplications")
    return [f"{result.model}, quantized: {', '.join(parts)}"]


def _with_effect(quantizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what matters of a quantizer: all of it, or of one for training what its kind heeds."""
    if not {"weight_quantizer", "weight_surrogate", "activation_quantizer"} <= quantizer.keys():
        return dict(quantizer)
    dorefa = quantizer["weight_quantizer"] == "dorefa"
    pact = quantizer["activation_quantizer"] == "pact"
    surrogates = {quantizer["weight_surrogate"], quantizer["activation_surrogate"]}
    without = {"batchnorm", *(("granularity",) if dorefa else ("scheme", "rescale"))}
    without |= {"delta", "variant"} if surrogates == {"ste"} else set()
    without |= set() if pact else {"clip_start", "shared_clip"}
    return {key: value for key, value in quantizer.items() if key not in without}


def _sha256(sha256: str | None) -> str:
    """Return the beginning of a hash in words; a network trained from scratch has none."""
    return f", sha256 {sha256[:12]}" if sha256 else ""


def _pairs(values: Mapping[str, Any], prefix: str = "") -> str:
    pairs = [
        _pairs(value, f"{prefix}{key}.") if isinstance(value, Mapping) else f"{prefix}{key} {value}"
        for key, value in values.items()
    ]
    return ", ".join(pairs)
