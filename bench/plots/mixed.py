"""The choice of bits of a cell with mixed precision."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIXED_PLOT = "mixed.png"


def plot_mixed(choice: dict[str, Any], path: Path) -> None:
    """Draw the bits of each layer, and of a search its frontier and sensitivities.

    choice: as `mixed.json` has it. Bits that differ by output channel are drawn from the fewest to
    the most.
    """
    if "frontier" in choice:
        draw(lambda figure: _paint(figure, choice), path, (12, 4.5))
    else:
        size = max(6, 2 + 0.16 * len(choice["layers"])), 4.5
        draw(lambda figure: _paint_bits(figure, choice["layers"]), path, size)


def _paint_bits(figure: "Figure", layers: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    ax = figure.subplots()
    places = range(len(layers))
    ax.bar(places, [each["bits"] for each in layers], color="tab:red", alpha=0.35, label="weights")
    several = [(x, each["channel_bits"]) for x, each in enumerate(layers) if "channel_bits" in each]
    if several:
        ends = [(min(bits), max(bits)) for _, bits in several]
        ax.vlines(
            [x for x, _ in several], *zip(*ends, strict=True), color="tab:red", label="channels"
        )
    inputs = [
        (x, bits) for x, each in enumerate(layers) if (bits := each.get("input_bits")) and bits < 32
    ]
    if inputs:
        ax.plot(*zip(*inputs, strict=True), "_", color="tab:blue", markersize=9, label="inputs")
    ax.set(xlabel="layer", ylabel="bits", ylim=(0, None))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(fontsize="small")


def _paint(figure: "Figure", choice: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    sizes, costs = zip(*choice["frontier"], strict=True)
    left.plot(sizes, costs, ".-", color="tab:blue", markersize=3)
    left.plot(choice["size_mb"], choice["cost"], "o", color="tab:red", label="chosen")
    left.set(xlabel="size of the weights, MiB", ylabel="sum of sensitivities, nats")
    left.set_yscale(_scale([*costs, choice["cost"]]))
    left.legend()
    layers = choice["layers"]
    places = range(len(layers))
    right.bar(places, [layer["bits"] for layer in layers], color="tab:red", alpha=0.35)
    right.set(xlabel="layer", ylabel="bits of the weights (bars)")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    free = [(place, of) for place, layer in enumerate(layers) if (of := layer["sensitivity"])]
    if free:
        lines = right.twinx()
        for bits in sorted({bits for _, of in free for bits in of}):
            points = [(place, of[bits]) for place, of in free]
            lines.plot(*zip(*points, strict=True), ".-", linewidth=0.6, label=f"at {bits} bits")
        lines.set(ylabel="sensitivity, nats")
        lines.set_yscale(_scale(cost for _, of in free for cost in of.values()))
        lines.legend(fontsize="small")


def _scale(costs: Iterable[float]) -> str:
    """Return `log` where it shows every value: it has no place for one that is 0."""
    return "log" if all(cost > 0 for cost in costs) else "linear"
