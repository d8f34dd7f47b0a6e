"""Short words that tell cells apart: of a method, of bit-widths."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.cells.differences import leaves
from bench.cells.recipe_label import BITS, Presets, in_words, is_trained
from bench.cells.result import Result


def method_labels(
    results: Sequence[Result], contexts: Sequence[int], recipes: Presets
) -> list[str]:
    """Return a label a result: method, variant, and the parameters in which its cells differ.

    contexts: of each result, the number of what it was measured on. Cells of one method and one
    context are compared.
    """
    parameters_of = [_parameters(result, recipes) for result in results]
    keys = [(result.method, context) for result, context in zip(results, contexts, strict=True)]
    alike: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, parameters in zip(keys, parameters_of, strict=True):
        alike.setdefault(key, []).append(parameters)
    varying = {key: _varying(rows) for key, rows in alike.items()}
    labels = []
    for key, result, parameters in zip(keys, results, parameters_of, strict=True):
        pairs = [f"{k} {in_words(parameters[k])}" for k in varying[key] if k in parameters]
        words = [*([result.variant] if result.variant else []), *pairs]
        labels.append(f"{result.method} ({', '.join(words)})" if words else result.method)
    return labels


def _parameters(result: Result, recipes: Presets) -> dict[str, Any]:
    """Return the parameters of a method, and what else is no part of a recipe preset."""
    recipe = result.recipe
    method = {k: v for k, v in recipe.method.items() if k not in ("name", "variant")}
    trained = recipe.quantizer if is_trained(recipe.quantizer, recipes) else {}
    others = {k: getattr(recipe.calibration, k) for k in ("synthesis_precision", "set")}
    quantizer = {k: v for k, v in trained.items() if k not in BITS}
    parameters = dict(leaves(method)) | quantizer | others
    return {key: value for key, value in parameters.items() if value is not None}


def _varying(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys that have two values or are missing somewhere, in order of appearance."""
    rows = list(rows)
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({str(row.get(key, ...)) for row in rows}) > 1]


def bits_order(result: Result) -> float:
    """Return the mean of weight and activation bits: few bits come first."""
    recipe = result.recipe
    asked = recipe.quantizer.get("mean_bits")
    weights = _mean(result.w_bits, recipe.weight_bits) if asked is None else asked
    return (weights + _mean(result.a_bits, recipe.input_bits)) / 2


def _mean(bits: int | str, chosen: Mapping[str, float] | None) -> float:
    if isinstance(bits, int):
        return bits
    each = list((chosen or {}).values()) or [8]
    return sum(each) / len(each)
