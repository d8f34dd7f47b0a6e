"""The choice of bits of a cell with mixed precision."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIXED_PLOT = "mixed.png"


def plot_mixed(choice: dict[str, Any], path: Path) -> None:
    """Draw how the bits were chosen, where that is known, and the bits of each layer.

    choice: as `mixed.json` has it: of a search over sensitivities with a `frontier`, of one by
    trying with `episodes`, of another method with neither. Bits that differ by output channel are
    drawn from the fewest to the most.
    """
    if choice.get("frontier") or choice.get("episodes"):
        draw(lambda figure: _paint(figure, choice), path, (12, 4.5))
    else:
        size = max(6, 2 + 0.16 * len(choice["layers"])), 4.5
        draw(lambda figure: _bits(figure.subplots(), choice["layers"]), path, size)


def _bits(ax: "Axes", layers: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

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
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    if choice.get("frontier"):
        _frontier(left, choice)
        _layers(right, choice["layers"])
    else:
        _episodes(left, choice["episodes"])
        _bits(right, choice["layers"])


def _frontier(ax: "Axes", choice: dict[str, Any]) -> None:
    prices, costs = zip(*choice["frontier"], strict=True)
    ax.plot(prices, costs, ".-", color="tab:blue", markersize=3)
    axis = choice.get("axis")  # of a budget that is no size
    at = choice["size_mb"] if axis is None else choice["price"]
    ax.plot(at, choice["cost"], "o", color="tab:red", label="chosen")
    named = "size of the weights, MiB" if axis is None else axis
    ax.set(xlabel=named, ylabel="sum of sensitivities, nats")
    ax.set_yscale(_scale([*costs, choice["cost"]]))
    ax.legend()


def _episodes(ax: "Axes", episodes: list[dict[str, Any]]) -> None:
    x = [episode["episode"] for episode in episodes]
    rewards = [episode["reward"] for episode in episodes]
    best = [max(rewards[: place + 1]) for place in range(len(rewards))]
    ax.plot(x, rewards, ".", color="tab:blue", markersize=3, label="reward")
    ax.plot(x, best, "-", color="tab:red", linewidth=0.8, label="best so far")
    ax.set(xlabel="episode", ylabel="reward")
    ax.legend()


def _layers(ax: "Axes", layers: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    places = range(len(layers))
    ax.bar(places, [layer["bits"] for layer in layers], color="tab:red", alpha=0.35)
    ax.set(xlabel="layer", ylabel="bits of the weights (bars)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    free = [(place, of) for place, layer in enumerate(layers) if (of := layer.get("sensitivity"))]
    if free:
        lines = ax.twinx()
        for bits in sorted({bits for _, of in free for bits in of}):
            points = [(place, of[bits]) for place, of in free]
            lines.plot(*zip(*points, strict=True), ".-", linewidth=0.6, label=f"at {bits} bits")
        lines.set(ylabel="sensitivity, nats")
        lines.set_yscale(_scale(cost for _, of in free for cost in of.values()))
        lines.legend(fontsize="small")


def _scale(costs: Iterable[float]) -> str:
    """Return `log` where it shows every value: it has no place for one that is 0."""
    return "log" if all(cost > 0 for cost in costs) else "linear"
