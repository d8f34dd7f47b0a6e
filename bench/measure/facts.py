"""What is recorded of a cell: before it is measured, and what came of it."""

from datetime import UTC, datetime
from typing import Any

from bench.cells.cell import Cell
from bench.cells.recipe import recipe_of
from bench.cells.result import Result
from bench.config.schema import TORCH, Config
from bench.machine.versions import git_sha, versions
from bench.measure.integers import engine_versions
from bench.measure.phases import Measurement
from models.paths import expanded


def facts_before(cell: Cell) -> dict[str, Any]:
    """Return what a result says of a cell whatever comes of it."""
    return {
        "id": cell.id,
        "request_id": cell.request.id,
        "model": cell.entry.name,
        "weights": cell.weights.tag,
        "method": cell.method.name,
        "variant": getattr(cell.method, "variant", None),
        "data": cell.listing.name,
        "w_bits": cell.spec.w_bits,
        "a_bits": cell.spec.a_bits,
        "seed": cell.seed,
        "group": cell.request.config.group,
        "task": cell.task.name,
        "fp32_expected": cell.expected,
        "weights_sha256": cell.weights.sha256,
        "recipe": recipe_of(cell),
        "versions": versions() | engine_versions(cell),
        "git_sha": git_sha(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def facts_found(cell: Cell, measured: Measurement) -> dict[str, Any]:
    """Return what a result says of a measured cell; what its task measures is in percent."""
    observations, metric = measured.observations, cell.task.headline
    evaluated = observations.evaluated or cell.listing
    numbers = cell.task.measured(measured.evaluation.items) | {
        "left_out": len(evaluated.left_out),
        "classes": evaluated.classes,
        "size_mb": measured.size_mb,
        "size_with_scales_mb": measured.size_mb + measured.scales_mb,
        "mean_bits": measured.mean_bits,
        "logit_mse": measured.logit_mse,
        "warnings": measured.warnings,
        "weights_sha256": observations.weights_sha256,
        "recipe": recipe_of(cell, observations),
    }
    if measured.cost is not None:
        numbers |= measured.cost._asdict()
    if measured.coverage is not None:
        numbers["quantized_weights"] = measured.coverage.weights
        numbers["quantized_multiplications"] = measured.coverage.multiplications
        numbers["quantized_inputs"] = measured.coverage.inputs
    if cell.spec.is_float:
        low = numbers["ci_low"]
        numbers["warnings"] = [*measured.warnings, *cell.task.doubts(low, measured.outputs)]
        return numbers | {metric.of_float: numbers[metric.key], "fp32_id": cell.id}
    return numbers | {"calibration_key": cell.calibration_key}


def float_facts(reference: Result) -> dict[str, Any]:
    """Return what a result says of the float network that is measured beside it."""
    return {
        reference.of_task.headline.of_float: reference.headline,
        "fp32_id": reference.id,
    }


def portable(config: Config) -> dict[str, Any]:
    """Return `config` with its paths absolute, so that it means the same from any folder."""
    plain = config.model_dump(mode="json")
    if config.evaluate.engine == TORCH:  # as before there was a choice
        del plain["evaluate"]
    if plain["data"].get("root"):
        plain["data"]["root"] = str(expanded(plain["data"]["root"]).resolve())
    if plain["quant"].get("latency_table"):
        plain["quant"]["latency_table"] = str(expanded(plain["quant"]["latency_table"]).resolve())
    weights = expanded(config.model.weights)
    if weights.is_file():
        plain["model"]["weights"] = str(weights.resolve())
    return plain
