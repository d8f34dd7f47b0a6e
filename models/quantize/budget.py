"""Limits on what a quantized network may cost, where its bits are chosen: how they are said."""

from collections.abc import Collection, Mapping
from typing import Any

from models.errors import BenchError
from models.quantize.checks import check_positive, whole
from models.registry import did_you_mean

OF_WEIGHTS = ("size_mb", "mean_bits")
"""Costs of which a quantizer has a field of its own, older than `budget`."""

LARGEST = "largest_activation_mb"
"""The cost of one tensor; all others are sums over layers, or means."""

OF_ACTIVATIONS = ("activations_mb", LARGEST, "mean_activation_bits")

LATENCY = "latency_ms"
"""By a table of the user's, `quant.latency_table`."""

OF_PRODUCTS = ("mac_bits", "bops", "bops_percent", "bops_with_additions", LATENCY)

COSTS = (*OF_WEIGHTS, *OF_ACTIVATIONS, *OF_PRODUCTS)
"""What can be limited; all but `size_mb` and `mean_bits`, of the weights, as in `Cost`."""

MISSED = "the training has missed a target"
"""What the warning of a result begins with whose bits were trained to a limit that is not met."""

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


_UNITS = {
    **{"mean_bits": "", "size_mb": "MiB"},
    **{"mean_activation_bits": "", "activations_mb": "MiB", "largest_activation_mb": "MiBmax"},
    **{"mac_bits": "MACbits", "bops": "BOPs", "bops_percent": "%BOPs"},
    **{"bops_with_additions": "BOPs(add)", LATENCY: "ms"},
}
_THOUSANDS = ("", "k", "M", "G", "T", "P")


def budget_label(limits: Limits, names: Collection[str]) -> str:
    """Return the limits of `names`: `4` (mean bits), `2.5MiB`, `1.5GBOPs`, several joined by `+`.

    Whether weights or activations are limited is not in it: it stands behind either.
    """
    shown = [(name, value) for name, value in limits.items() if name in names]
    return "+".join(f"{_amount(value)}{_UNITS[name]}" for name, value in shown)


def _amount(value: float) -> str:
    """Return a number in 6 digits, from ten thousand on with a letter for its thousands."""
    steps = 0
    while abs(value) >= (10_000 if steps == 0 else 1000) and steps < len(_THOUSANDS) - 1:
        value, steps = value / 1000, steps + 1
    return f"{value:g}{_THOUSANDS[steps]}"


def spelled(name: str, value: float) -> str:
    """Return a limit as it is typed after `quant.`."""
    return f"{name if name in OF_WEIGHTS else f'budget.{name}'}={value:g}"


def decided_by(name: str, parts: Mapping[str, float], fixed: Mapping[str, int]) -> str:
    """Return which layer decides what a network costs, to stand behind that: the one with the most.

    name: of the cost. parts: what each layer has of it, in any unit. fixed: bits of those that have
    bits of their own.
    """
    layer = max(parts, key=parts.__getitem__)
    total = sum(parts.values())
    share = f", {100 * parts[layer] / total:.0f} % of it" if name != LARGEST and total else ""
    own = f", whose bits are fixed ({fixed[layer]})" if layer in fixed else ""
    return f"{share} in layer {layer!r}{own}"
