"""The choice of bits of a cell with mixed precision."""

from pathlib import Path
from typing import Any

MIXED_PLOT = "mixed.png"


def plot_mixed(choice: dict[str, Any], path: Path) -> None:
    """Draw the frontier with the chosen point, and each layer's bits and sensitivities."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    sizes, costs = zip(*choice["frontier"], strict=True)
    left.plot(sizes, costs, color="tab:blue")
    left.plot(choice["size_mb"], choice["cost"], "o", color="tab:red", label="chosen")
    left.set(xlabel="size of the weights, MiB", ylabel="sum of sensitivities, nats", yscale="log")
    left.legend()
    layers = choice["layers"]
    places = range(len(layers))
    right.bar(places, [layer["bits"] for layer in layers], color="tab:red", alpha=0.35)
    right.set(xlabel="layer", ylabel="bits of the weights (bars)")
    log = right.twinx()
    free = [(place, layer["sensitivity"]) for place, layer in enumerate(layers)]
    candidates = sorted({bits for _, of in free if of for bits in of})
    for bits in candidates:
        points = [(place, of[bits]) for place, of in free if of]
        log.plot(*zip(*points, strict=True), ".-", linewidth=0.6, label=f"at {bits} bits")
    log.set(ylabel="sensitivity, nats", yscale="log")
    log.legend(fontsize="small")
    figure.savefig(path, dpi=100)
