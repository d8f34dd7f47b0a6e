"""How the bits of each layer were chosen, where they were."""

from typing import Any

from bench.dashboard.pool import Pool
from bench.dashboard.thin import thinned

_POINTS = 120


def layer_choice(content: dict[str, Any] | None, sensitivities: Pool) -> dict[str, Any] | None:
    """Return what a page shows of `mixed.json`: size in MiB, cost in nats, frontier, layers.

    sensitivities: takes the names of the layers and their sensitivities, which all budgets share.

    Returns None for a file that is not there or says something else.
    """
    if content is None:
        return None
    try:
        layers = content["layers"]
        names = [[layer["layer"], layer["sensitivity"]] for layer in layers]
        return {
            "size_mb": float(content["size_mb"]),
            "cost": float(content["cost"]),
            "frontier": thinned([[float(s), float(c)] for s, c in content["frontier"]], _POINTS),
            "bits": [int(layer["bits"]) for layer in layers],
            "sensitivities": sensitivities.add(names),
        }
    except (KeyError, TypeError, ValueError):
        return None
