"""The name of the recipe that a quantizer was made by: its preset, and what differs from it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from bench.cells.result import Result
from bench.config.compose import Configs
from bench.config.files import options
from models.quantize.spec import MIXED, OF_MIXED

Presets = Mapping[str, Mapping[str, Any]]
"""Quantizers by the name of their recipe, first the one that `bench run` takes by itself."""

OF_ITS_METHOD = "of its method"
"""Stands for the recipe of a cell whose quantizer is no preset's: its method trained with it."""

BITS = ("w_bits", "a_bits", *OF_MIXED)
"""Keys of a quantizer that `quant=` sets, and no recipe does."""

_FIRST = "zeroq_release"


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
    return {name: {k: v for k, v in of.items() if k not in BITS} for name, of in quantizers.items()}


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
    """Return such as `zeroq_release` or `all_inputs, a_range mse`; nothing for a usual float cell.

    A result has the values of its quantizer and not the word that was typed: the label is the
    preset that has most of them, with each value that differs.
    """
    words = []
    quantizer = result.recipe.quantizer
    if result.method != "float" and quantizer:
        words += _quantizer_words(quantizer, MIXED in (result.w_bits, result.a_bits), recipes)
    if (products := result.recipe.matrix_products) is not None:
        words.append(f"matrix_products {products}")
    if (engine := result.recipe.evaluation.engine) is not None:
        words.append(f"engine {engine}")
    return ", ".join(words)


def _quantizer_words(quantizer: Mapping[str, Any], is_mixed: bool, recipes: Presets) -> list[str]:
    if is_trained(quantizer, recipes):
        return [OF_ITS_METHOD]
    name, rest = nearest_preset(quantizer, recipes)
    for key in ("w_candidates", "a_candidates"):
        candidates = quantizer.get(key)
        if is_mixed and candidates not in (None, composition("quant=mixed")["quant"][key]):
            rest[key] = candidates
    return [name, *(f"{key} {in_words(value)}" for key, value in rest.items())]


def is_trained(quantizer: Mapping[str, Any], recipes: Presets) -> bool:
    """Return whether a `quantizer` has keys that no preset knows: those of a training."""
    return not quantizer.keys() <= {*next(iter(recipes.values())), *BITS}


def in_words(value: Any) -> str:
    """Return a value of a recipe as labels have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
