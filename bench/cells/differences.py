"""In what cells differ, in the words that one types for it: `quant.a_range=mse`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.cells.result import Result
from bench.config.schema import TORCH
from models.quantize.spec import OF_BUDGET

Values = Mapping[str, Any]
"""What is typed for a cell: values by their keys, such as `quant.w_bits`."""


def differences(cells: Sequence[Values]) -> list[list[str]]:
    """Return for each of the cells of a sweep the words in which it differs from others.

    cells: `typed_values` of their jobs, or `recorded_values` of their results.
    """
    keys = varying(cells)
    return [words(cell, keys) for cell in cells]


def varying(cells: Iterable[Values]) -> list[str]:
    """Return the keys that have several values, in order of appearance.

    Parameters of a method count where they differ among cells of one method: those that only
    another method has do not tell cells apart. Nor does a value that an older record lacks.
    """
    seen: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in cells:
        method = str(cell.get("method", ""))
        for key, value in cell.items():
            seen[key, method if key.startswith("method.") else ""].add(_text(value))
    return list(dict.fromkeys(key for (key, _), values in seen.items() if len(values) > 1))


def words(cell: Values, keys: Iterable[str]) -> list[str]:
    """Return `key=value` for each of the `keys` that a cell has."""
    return [f"{key}={_text(cell[key])}" for key in keys if key in cell]


def typed_values(job: Sequence[str]) -> dict[str, str]:
    """Return what the overrides of one job, `key=value` each, say by key."""
    pairs = (word.partition("=") for word in job)
    return {key.lstrip("+"): value for key, _, value in pairs}


def recorded_values(result: Result) -> dict[str, Any]:
    """Return what would be typed for the cell of a result, as far as its record tells."""
    recipe = result.recipe
    values: dict[str, Any] = {
        "model": result.model,
        "model.weights": result.weights,
        "data": result.data,
        "method": result.method,
        "quant.w_bits": result.w_bits,
        "quant.a_bits": result.a_bits,
        "runtime.precision": recipe.matrix_products
        or recipe.calibration.synthesis_precision
        or "fp32",
        "evaluate.engine": recipe.evaluation.engine or TORCH,
        "seed": result.seed,
    }
    if recipe.evaluation.images is not None:
        values["data.limit"] = recipe.evaluation.images
    if recipe.calibration.set is not None:  # such as `mnist5k, training side, 4000 images`
        values["data.subset"] = recipe.calibration.set.rpartition(", ")[2].removesuffix(" images")
    trains = "weight_quantizer" in recipe.quantizer  # whose quantizer is its own
    quantizer = {k: v for k, v in recipe.quantizer.items() if k not in ("w_bits", "a_bits")}
    if result.method == "float":  # which has none
        quantizer = {}
    method = {k: v for k, v in recipe.method.items() if k not in ("name", "version")}
    of_cell = {k: v for k, v in quantizer.items() if k in OF_BUDGET or not trains}
    of_training = {k: v for k, v in quantizer.items() if k not in of_cell}
    if "budget" in of_cell:  # one value, as it is typed
        values["quant.budget"] = of_cell.pop("budget")
    values |= dict(leaves(of_cell, "quant.")) | dict(leaves(of_training, "method.qat."))
    return values | dict(leaves(method, "method."))


def leaves(tree: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their keys, joined by dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{parent}{key}.")
        else:
            yield parent + key, value


def beside_label(result: Result, typed: Iterable[str]) -> list[str]:
    """Return those of the `typed` words that the label of `result` does not say."""
    quantizer = result.recipe.quantizer
    said = {
        "model": result.model,
        "data": result.data,
        "method": result.method,
        "quant": result.bits.lower().replace("/", ""),
        "quant.w_bits": str(result.w_bits),
        "quant.a_bits": str(result.a_bits),
        **{f"quant.{name}": _text(quantizer.get(name)) for name in OF_BUDGET},
        "seed": str(result.seed),
    }
    pairs = [(word, *word.partition("=")) for word in typed]
    return [word for word, key, _, value in pairs if said.get(key) != value]


def _text(value: Any) -> str:
    """Return a value as it is typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}: {_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
