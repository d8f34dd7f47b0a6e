"""A table as a picture of what accuracy costs: a point a bit-width, a line a method."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.plots.colours import colours_of
from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MARKERS = "os^DvPX*<>"
_DECADE = 10
_LEAST_ERROR = 0.01  # percent
_TICKS = (0, 20, 40, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.5, 99.8, 99.9, 99.95)


class Point(NamedTuple):
    """Cells that differ in their seed alone.

    label: their bits, or what else moves along the line. cost, top1: means over seeds, top1 in
    percent. spread: of the cost, its standard deviation. low, high: of top1, mean less and plus
    the standard deviation, or of one seed the 95 % Wilson interval.
    """

    label: str
    cost: float
    spread: float
    top1: float
    low: float
    high: float


class Curve(NamedTuple):
    """Points of one method and of one value of all else, costs rising."""

    method: str
    label: str
    points: Sequence[Point]


class Panel(NamedTuple):
    """What was measured on one data set, and the same of its float networks, in percent.

    title: what the values are.
    """

    curves: Sequence[Curve]
    of_float: Sequence[float]
    title: str = "top-1"


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the points that none is better than at their cost or less, costs rising."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.top1)):
        if not front or point.top1 > front[-1].top1:
            front.append(point)
    return front


def plot_costs(panels: Mapping[str, Panel], axis: str, path: Path) -> None:
    """Draw accuracy against a cost, a panel for each data set. axis: what the cost is."""
    size = 3.4 + 5.6 * len(panels), 5.2
    draw(lambda figure: paint_costs(figure, panels, axis), path, size, dpi=120)


def paint_costs(figure: "Figure", panels: Mapping[str, Panel], axis: str) -> None:
    """Put the panels of `plot_costs` into `figure`, and one legend for all."""
    labels = list(dict.fromkeys(c.label for panel in panels.values() for c in panel.curves))
    colours = colours_of(c.method for panel in panels.values() for c in panel.curves)
    drawn = {}
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (data, panel) in zip(axes, panels.items(), strict=True):
        for top1 in panel.of_float:
            drawn["float"] = ax.axhline(top1, color="0.6", linestyle="--", linewidth=0.8)
        drawn["Pareto frontier"] = _frontier(ax, panel)
        for curve in panel.curves:
            marker = _MARKERS[labels.index(curve.label) % len(_MARKERS)]
            drawn[curve.label] = _curve(ax, curve, colours[curve.method], marker)
        costs = [point.cost for curve in panel.curves for point in curve.points]
        if min(costs) > 0 and max(costs) > _DECADE * min(costs):
            ax.set_xscale("log")
        ax.set(title=data, xlabel=axis, ylabel=f"{panel.title}, %")
        _scale_errors(ax, [point for curve in panel.curves for point in curve.points])
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    named = [label for label in ("float", "Pareto frontier") if label in drawn]
    order = [*labels, *(label for label in named if label not in labels)]
    figure.legend(
        [drawn[label] for label in order], order, loc="outside right upper", fontsize="small"
    )


def _scale_errors(ax: "Axes", points: Sequence[Point]) -> None:
    """Give errors a logarithmic scale where they span more than a decade, or few points see any."""
    errors = [max(100.0 - point.top1, _LEAST_ERROR) for point in points]
    if max(errors) <= _DECADE * min(errors):
        return

    def height(top1: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return -np.log10(np.clip(100.0 - np.asarray(top1), _LEAST_ERROR, None))

    def top1_at(height: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return 100.0 - 10.0 ** -np.asarray(height)

    ax.set_yscale("function", functions=(height, top1_at))
    # Lines of intervals end where there is something to see.
    lowest, highest = min(p.low for p in points), max(p.high for p in points)
    low, high = height(np.array([lowest, min(highest, 100.0 - min(errors) / 2)]))
    margin = 0.04 * (high - low)
    ax.set_ylim(*top1_at(np.array([low - margin, high + margin])))
    ax.set_yticks([t for t in _TICKS if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]])
    ax.set_yticklabels([f"{t:g}" for t in ax.get_yticks()])
    ax.minorticks_off()


def _frontier(ax: "Axes", panel: Panel) -> object:
    front = frontier(point for curve in panel.curves for point in curve.points)
    costs, top1 = [p.cost for p in front], [p.top1 for p in front]
    (line,) = ax.plot(
        costs, top1, drawstyle="steps-post", color="0.8", linewidth=3, zorder=1, gid="frontier"
    )
    for point in front:
        ax.annotate(
            point.label,
            (point.cost, point.top1),
            xytext=(-3, 5),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="0.35",
        )
    return line


def _curve(ax: "Axes", curve: Curve, colour: str, marker: str) -> object:
    points = curve.points
    return ax.errorbar(
        [p.cost for p in points],
        [p.top1 for p in points],
        xerr=[p.spread for p in points] if any(p.spread for p in points) else None,
        # At 0 and 100 % an interval ends at the value, but for rounding.
        yerr=[
            [max(p.top1 - p.low, 0.0) for p in points],
            [max(p.high - p.top1, 0.0) for p in points],
        ],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.2,
        elinewidth=0.7,
        label=curve.label,
    )
