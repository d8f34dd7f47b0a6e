"""Limits on what a quantized network may cost, where its bits are chosen: how they are said."""

from collections.abc import Mapping
from typing import Any

from models.errors import BenchError
from models.quantize.checks import check_positive, whole
from models.registry import did_you_mean

OF_WEIGHTS = ("size_mb", "mean_bits")
"""Costs of which a quantizer has a field of its own, older than `budget`."""

OF_ACTIVATIONS = ("activations_mb", "largest_activation_mb", "mean_activation_bits")

LATENCY = "latency_ms"
"""By a table of the user's, `quant.latency_table`."""

OF_PRODUCTS = ("mac_bits", "bops", "bops_percent", "bops_with_additions", LATENCY)

COSTS = (*OF_WEIGHTS, *OF_ACTIVATIONS, *OF_PRODUCTS)
"""What can be limited; all but `size_mb` and `mean_bits`, of the weights, as in `Cost`."""

Limits = Mapping[str, float]
"""The most that a network may cost, by the name of the cost."""


def budget_items(budget: Any) -> tuple[tuple[str, float], ...]:
    """Return the names and values of `quant.budget`: a mapping, its items, or None.

    Raises BenchError for an unknown cost and for a value that is no positive number.
    """
    try:
        named = dict(budget or {})
    except (TypeError, ValueError):
        raise BenchError(f"quant.budget={budget!r}; give a mapping, as in {{size_mb: 2.5}}") from (
            None
        )
    for name, value in named.items():
        if name not in COSTS:
            raise BenchError(f"quant.budget has no cost {name!r}; {did_you_mean(str(name), COSTS)}")
        check_positive(f"quant.budget.{name}", value)
    return tuple(sorted((name, whole(value)) for name, value in named.items()))


def limits_of(quantizer: Mapping[str, Any]) -> dict[str, float]:
    """Return the limits that the values of a quantizer set."""
    own = {name: quantizer.get(name) for name in OF_WEIGHTS}
    return {k: v for k, v in own.items() if v is not None} | dict(quantizer.get("budget") or {})


def budget_label(limits: Limits) -> str:
    """Return `4` (mean bits), `2.5MiB` (size), `1e+09bops`, or several joined by `+`."""
    units = {"mean_bits": "", "size_mb": "MiB"}
    return "+".join(f"{value:g}{units.get(name, name)}" for name, value in limits.items())


def spelled(name: str, value: float) -> str:
    """Return a limit as it is typed after `quant.`."""
    return f"{name if name in OF_WEIGHTS else f'budget.{name}'}={value:g}"
