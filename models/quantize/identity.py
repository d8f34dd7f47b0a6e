"""What of a recipe's quantizer has an effect, and by which of it results are found again."""

from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from models.quantize.budget import LATENCY
from models.quantize.checks import FLOAT_BITS, MIXED
from models.quantize.rounding.registry import (
    OF_TABLES,
    PREFIX,
    PREFIX_OF_STEPS,
    is_of_tables,
    parameters,
    version,
    without_effect,
)
from models.quantize.spec import OF_MIXED, QuantSpec

_RANGE_VERSIONS = {"mse": 2, "entropy": 2}
"""Raised when a change of a range estimator changes its numbers."""
_OF_WEIGHTS = ("w_", "rounding", "weight_", "bias_")
"""What the fields begin with that have no effect on float weights."""


def identity(spec: QuantSpec) -> dict[str, Any]:
    """Return the bits of a spec and what differs from the defaults, at these bit-widths.

    What a new field leaves at its default stays what it was, so no old result loses its name.
    """
    heeded = effective(spec)
    bits: dict[str, Any] = {"w_bits": spec.w_bits, "a_bits": spec.a_bits}
    rounding_version = version(heeded.rounding)
    if rounding_version is not None:
        bits["rounding_version"] = rounding_version
    if heeded.a_range in _RANGE_VERSIONS:
        bits["a_range_version"] = _RANGE_VERSIONS[heeded.a_range]
    defaults = _defaults()
    different = {k: v for k, v in heeded.as_dict().items() if v != defaults[k]}
    return bits | weights_version(heeded) | different


def weights_version(spec: QuantSpec) -> dict[str, int]:
    """Return what the version of the estimator of weight ranges adds to an identity."""
    number = _RANGE_VERSIONS.get(spec.w_range)
    return {} if number is None else {"w_range_version": number}


# The thousands of cells of a table share a few specs.
@lru_cache(maxsize=256)
def effective(spec: QuantSpec) -> QuantSpec:
    """Return the spec with what has no effect at its bit-widths set to the default."""
    if spec.is_float:
        return QuantSpec(FLOAT_BITS, FLOAT_BITS)
    defaults = _defaults()
    special = any(bits != FLOAT_BITS for bits in spec.special_bits)
    idle: dict[str, Any] = {}
    if LATENCY not in spec.limits:
        idle["latency_table"] = None  # it changes no number
    for kind in ("w", "a"):
        if getattr(spec, f"{kind}_bits") != MIXED:
            idle[f"{kind}_candidates"] = defaults[f"{kind}_candidates"]
    if spec.w_bits == FLOAT_BITS and not special:
        idle |= {k: v for k, v in defaults.items() if k.startswith(_OF_WEIGHTS)}
    else:
        heeded = parameters(spec.rounding)
        idle |= {k: v for k, v in defaults.items() if k.startswith(PREFIX) and k not in heeded}
        idle |= {k: defaults[k] for k in without_effect(spec.rounding, spec.as_dict())}
    if spec.a_bits == FLOAT_BITS and not (special and spec.sites != "relu"):
        idle |= {k: v for k, v in defaults.items() if k.startswith("a_") or k == "sites"}
        idle |= {k: v for k, v in defaults.items() if k.startswith(PREFIX_OF_STEPS)}
    return replace(spec, **idle)


def written(spec: QuantSpec) -> dict[str, Any]:
    """Return the values of a spec as records have them: without those of mixed precision and of
    tables that mean nothing to it.
    """
    values, idle = spec.as_dict(), set[str]()
    if not is_of_tables(spec.rounding):
        idle |= set(OF_TABLES)
    if not spec.is_mixed:
        idle |= set(OF_MIXED)
    elif spec.a_bits != MIXED:
        idle.add("a_candidates")
    idle |= {name for name in ("budget", "latency_table") if getattr(spec, name) is None}
    if spec.reach == "all":  # as before there was a choice
        idle.add("reach")
    return {key: value for key, value in values.items() if key not in idle}


@cache
def _defaults() -> dict[str, Any]:
    return QuantSpec(FLOAT_BITS, FLOAT_BITS).as_dict()
