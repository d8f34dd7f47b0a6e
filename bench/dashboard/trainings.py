"""How the training of a cell went: its curves, and the gates that it came to."""

import math
from typing import Any

from bench.dashboard.thin import thinned
from bench.plots.training import curve_points

_POINTS = 120
_LOSS = "loss"


def training_course(content: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a page shows of `training.json`.

    panels: a title each, lines of (label, points of (epoch, value)), and targets. Curves that are
    called alike up to a slash are lines of one panel; the first is the mean loss of each epoch.
    gates: of each layer the probabilities that its gates are open after the last epoch that says
    them, by names such as `weight 4`; only where gates were trained.

    Returns None for a file that is not there or says something else.
    """
    if content is None:
        return None
    try:
        epochs = content["epochs"]
        losses = [(float(epoch["epoch"]), float(epoch["loss"])) for epoch in epochs]
        lines = {_LOSS: {"": losses}}
        for name, points in curve_points(epochs).items():
            title, _, label = name.partition("/")
            lines.setdefault(title, {})[label] = points
        panels = [
            {
                "title": title,
                "lines": [[label, _shown(points)] for label, points in of.items()],
                "targets": sorted({e["targets"][title] for e in epochs if _has(e, title)}),
            }
            for title, of in lines.items()
        ]
        gates = [epoch["gates"] for epoch in epochs if "gates" in epoch]
        found = {"panels": [panel for panel in panels if any(p for _, p in panel["lines"])]}
        return found | ({"gates": _gates(gates[-1])} if gates else {})
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _has(epoch: dict[str, Any], title: str) -> bool:
    return title in epoch.get("targets", ())


def _shown(points: list[tuple[float, float]]) -> list[list[float]]:
    """Return some of the points, to six digits; what is not finite has no place on an axis."""
    finite = [(x, float(y)) for x, y in points if math.isfinite(y)]
    return [[round(x, 3), float(f"{y:.6g}")] for x, y in thinned(finite, _POINTS)]


def _gates(of_layers: dict[str, dict[str, Any]]) -> list[list[Any]]:
    """Return (layer, probabilities by name) of each layer; `channels` is a mean."""
    found = []
    for layer, parts in of_layers.items():
        named: dict[str, float] = {}
        for part, of in parts.items():
            if isinstance(of, dict):
                named |= {f"{part} {width}": float(p) for width, p in of.items()}
            else:
                named[part] = float(of)
        found.append([layer, named])
    return found
