"""What to type to measure a cell again, from nothing but its configuration."""

import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from typing import Any

from bench.cells.differences import leaves
from bench.cells.recipe_label import Presets, composition, nearest_preset
from bench.config.files import options
from bench.config.schema import TORCH, Config
from bench.dashboard.folders import FOLDER
from models.quantize.rounding.registry import PREFIX, parameters
from models.quantize.spec import MIXED
from models.zoo import FILE_SUFFIXES, TIMM

_PLAIN = re.compile(r"[\w./:+-]+")


def command(config: Config, recipes: Presets) -> str | None:
    """Return the `bench run` line for the normalised configuration of a cell.

    recipes: the presets, as of `recipe_label.presets`. Returns None where a model, data set or
    method is not one of the shipped configs: only their owner can name them. `FOLDER` stands for
    where images lie, and the file of the weights.
    """
    is_float = config.quant.is_float
    chosen = {"model": config.model.model_dump(), "data": config.data}
    if not is_float:  # a float cell has no method
        chosen["method"] = config.method
    names = {group: values.get("name") for group, values in chosen.items()}
    if any(name not in _shipped(group) for group, name in names.items()):
        return None
    words = [f"{group}={name}" for group, name in names.items()]
    words += ["quant=fp32"] if is_float else _quantizer(config.quant.as_dict(), recipes)
    for group, name in names.items():
        words += _changes(group, chosen[group], composition(f"{group}={name}")[group])
    if config.seed:
        words.append(f"seed={config.seed}")
    if config.runtime.precision != "fp32":  # it matters to some methods only; to others it is idle
        words.append(f"runtime.precision={config.runtime.precision}")
    if config.evaluate.engine != TORCH:
        words.append(f"evaluate.engine={config.evaluate.engine}")
    return " ".join(["bench run", *(shlex.quote(word) for word in words)])


@cache
def _shipped(group: str) -> frozenset[str]:
    return frozenset(options(group))


def _quantizer(quant: Mapping[str, Any], recipes: Presets) -> list[str]:
    """Return the overrides for a quantizer: the preset that has most of it, and the rest."""
    preset, _ = nearest_preset(quant, recipes)
    words = [] if preset == next(iter(recipes)) else [f"recipe={preset}"]
    base = dict(recipes[preset])
    if MIXED in (quant["w_bits"], quant["a_bits"]):
        words.append("quant=mixed")
        base = composition("quant=mixed")["quant"] | base
    bits = {key: quant[key] for key in ("w_bits", "a_bits")}
    # What belongs to mixed precision is no key of other quantizers.
    heeded = parameters(quant["rounding"])
    rest = {
        key: value
        for key, value in quant.items()
        if key in base and key not in bits and (not key.startswith(PREFIX) or key in heeded)
    }
    return [*words, *_changes("quant", bits | rest, base)]


def _changes(group: str, values: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Return the overrides that make `base`, an option of `group`, into `values`."""
    words, defaults = [], dict(leaves(base))
    # A mapping where there was none, such as a budget, is one value.
    whole = {k: v for k, v in values.items() if isinstance(v, Mapping) and base.get(k, {}) is None}
    parts = {k: v for k, v in values.items() if k not in whole}
    for key, value in [*leaves(parts), *whole.items()]:
        if key == "root" and value is not None:
            words.append(f"{group}.root={FOLDER}")
        elif key == "latency_table" and value is not None:
            words.append(f"{group}.{key}={_literal(f'{FOLDER}/{PurePath(value).name}')}")
        elif group == "model" and key == "weights" and _is_file(value):
            words.append(f"model.weights={_literal(f'{FOLDER}/{PurePath(value).name}')}")
        elif key != "download" and _literal(defaults.get(key, ...)) != _literal(value):
            new = "" if key in defaults or group == "quant" else "+"
            words.append(f"{new}{group}.{key}={_literal(value)}")
    return words


def _is_file(weights: str) -> bool:
    """Return whether the zoo takes a name of weights for a file."""
    return not weights.startswith(TIMM) and ("/" in weights or weights.endswith(FILE_SUFFIXES))


def _literal(value: Any) -> str:
    """Return `value` as Hydra reads it on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}: {_literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, int | float) or _PLAIN.fullmatch(str(value)):
        return str(value)
    quoted = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"
