"""How the bits of each layer were chosen, where they were."""

from collections.abc import Callable
from typing import Any

from bench.dashboard.pool import Pool
from bench.dashboard.thin import thinned

_POINTS = 120


def layer_choice(content: dict[str, Any] | None, sensitivities: Pool) -> dict[str, Any] | None:
    """Return what a page shows of `mixed.json`: size in MiB, bits of the layers, those of their
    inputs and the fewest and most of their channels where there are such, and how they were chosen.

    sensitivities: takes the names of the layers and their sensitivities, which all budgets share.

    Returns None for a file that is not there or says something else.
    """
    if content is None:
        return None
    try:
        layers = content["layers"]
        names = [[layer["layer"], layer.get("sensitivity")] for layer in layers]
        return {
            **({"size_mb": float(content["size_mb"])} if "size_mb" in content else {}),
            **_searched(content),
            "bits": [_number(layer["bits"]) for layer in layers],
            **_of_some(layers, "input_bits", "inputs", _number),
            **_of_some(layers, "channel_bits", "channels", _ends),
            "sensitivities": sensitivities.add(names),
        }
    except (KeyError, TypeError, ValueError):
        return None


def _searched(content: dict[str, Any]) -> dict[str, Any]:
    """Return the frontier of a search over sensitivities, or the rewards of one by trying."""
    if "episodes" in content:
        rewards = [[int(e["episode"]), float(e["reward"])] for e in content["episodes"]]
        return {"rewards": thinned(rewards, _POINTS)}
    if not {"cost", "frontier"} & content.keys():
        return {}
    points = [[float(price), float(cost)] for price, cost in content["frontier"]]
    found = {"cost": float(content["cost"]), "frontier": thinned(points, _POINTS)}
    if "axis" in content:  # of a budget that is no size
        found |= {"axis": str(content["axis"]), "price": float(content["price"])}
    return found


def _of_some(
    layers: list[dict[str, Any]], key: str, name: str, of: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return under `name` what `of` makes of a value that only some layers have; {} without one."""
    found = [of(layer[key]) if layer.get(key) is not None else None for layer in layers]
    return {name: found} if any(value is not None for value in found) else {}


def _ends(values: list[Any]) -> list[int | float]:
    return [_number(min(values)), _number(max(values))]


def _number(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else round(number, 2)
