"""Short words that tell cells apart: of a recipe, of a method, of bit-widths."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bench.cells.result import Result
from bench.config.compose import Configs
from bench.config.files import options
from models.quantize.spec import MIXED

Presets = Mapping[str, Mapping[str, Any]]
"""Quantizers by the name of their recipe, first the one that `bench run` takes by itself."""

DEFAULT = "default"
"""Stands for the first preset, whose name is that of a method too."""

OF_ITS_METHOD = "of its method"
"""Stands for the recipe of a cell whose quantizer is no preset's: its method trained with it."""

_FIRST = "zeroq_release"
_BITS = ("w_bits", "a_bits", "w_candidates", "size_mb", "mean_bits")


@cache
def composition(choice: str) -> dict[str, Any]:
    """Return what one override composes to."""
    return _configs().compose([choice])


@cache
def _configs() -> Configs:
    return Configs()


def presets() -> Presets:
    """Return the quantizer of each shipped recipe, without its bits."""
    names = sorted(options("recipe"), key=lambda name: (name != _FIRST, name))
    quantizers = {name: composition(f"recipe={name}")["quant"] for name in names}
    return {
        name: {k: v for k, v in of.items() if k not in _BITS} for name, of in quantizers.items()
    }


def nearest_preset(quantizer: Mapping[str, Any], recipes: Presets) -> tuple[str, dict[str, Any]]:
    """Return the preset of `recipes` that has most of `quantizer`, and what differs from it.

    What a result does not say, because it has no effect on the cell, does not differ.
    """
    changes = [
        (name, {k: v for k, v in quantizer.items() if k in preset and v != preset[k]})
        for name, preset in recipes.items()
    ]
    return min(changes, key=lambda pair: len(pair[1]))


def recipe_label(result: Result, recipes: Presets) -> str:
    """Return such as `default` or `all_inputs, a_range mse`; nothing for a usual float cell."""
    words = []
    quantizer = result.recipe.quantizer
    if result.method != "float" and quantizer:
        words += _quantizer_words(quantizer, result.w_bits == MIXED, recipes)
    if (products := result.recipe.matrix_products) is not None:
        words.append(f"matrix_products {products}")
    return ", ".join(words)


def _quantizer_words(quantizer: Mapping[str, Any], is_mixed: bool, recipes: Presets) -> list[str]:
    if _is_trained(quantizer, recipes):
        return [OF_ITS_METHOD]
    name, rest = nearest_preset(quantizer, recipes)
    candidates = quantizer.get("w_candidates")
    if is_mixed and candidates not in (None, composition("quant=mixed")["quant"]["w_candidates"]):
        rest["w_candidates"] = candidates
    label = DEFAULT if name == next(iter(recipes)) else name
    return [label, *(f"{key} {_word(value)}" for key, value in rest.items())]


def _is_trained(quantizer: Mapping[str, Any], recipes: Presets) -> bool:
    return not quantizer.keys() <= {*next(iter(recipes.values())), *_BITS}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


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
        pairs = [f"{k} {_word(parameters[k])}" for k in varying[key] if k in parameters]
        words = [*([result.variant] if result.variant else []), *pairs]
        labels.append(f"{result.method} ({', '.join(words)})" if words else result.method)
    return labels


def _parameters(result: Result, recipes: Presets) -> dict[str, Any]:
    """Return the parameters of a method, and what else is no part of a recipe preset."""
    recipe = result.recipe
    method = {k: v for k, v in recipe.method.items() if k not in ("name", "variant")}
    trained = recipe.quantizer if _is_trained(recipe.quantizer, recipes) else {}
    others = {k: getattr(recipe.calibration, k) for k in ("synthesis_precision", "set")}
    quantizer = {k: v for k, v in trained.items() if k not in _BITS}
    parameters = dict(leaves(method)) | quantizer | others
    return {key: value for key, value in parameters.items() if value is not None}


def leaves(tree: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their keys, joined by dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{parent}{key}.")
        else:
            yield parent + key, value


def _varying(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys that have two values or are missing somewhere, in order of appearance."""
    rows = list(rows)
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({str(row.get(key, ...)) for row in rows}) > 1]


def bits_order(result: Result) -> float:
    """Return the mean of weight and activation bits: few bits come first."""
    weights: float
    if result.w_bits == MIXED:
        layers = list((result.recipe.weight_bits or {}).values()) or [8]
        weights = result.recipe.quantizer.get("mean_bits") or sum(layers) / len(layers)
    else:
        weights = result.w_bits
    return (weights + result.a_bits) / 2
