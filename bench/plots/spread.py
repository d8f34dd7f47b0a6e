"""A table as a picture: a dot for each seed, so that a spread is seen and not only read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GOLDEN = 0.618  # neighbours in a low-discrepancy sequence lie apart


class Row(NamedTuple):
    """The cells of one row of a table at one bit-width; values in percent, one a seed."""

    label: str
    values: Sequence[float]


def plot_spread(
    panels: Mapping[str, Sequence[Row]],
    of_float: Sequence[float],
    path: Path,
    title: str = "top-1",
) -> None:
    """Draw a panel for each bit-width, the rows below each other.

    panels: by bit-width, all with the same labels. of_float: values of the float networks, dashed.
    title: what the values are.
    """
    labels = list(dict.fromkeys(row.label for rows in panels.values() for row in rows))
    width = 2 + 0.07 * max(map(len, labels)) + 3.5 * len(panels)
    size = width, 1.1 + 0.32 * len(labels)
    draw(lambda figure: _paint(figure, panels, of_float, title), path, size, dpi=120)


def _paint(
    figure: "Figure", panels: Mapping[str, Sequence[Row]], of_float: Sequence[float], title: str
) -> None:
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = list(dict.fromkeys(row.label for rows in panels.values() for row in rows))
    for ax, (bits, rows) in zip(axes, panels.items(), strict=True):
        for value in of_float:
            ax.axvline(value, color="0.6", linestyle="--", linewidth=0.8)
        for row in rows:
            _dots(ax, labels.index(row.label), row.values)
        ax.set(title=bits, xlabel=f"{title}, %")
        ax.grid(axis="x", color="0.92")
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)


def _dots(ax: "Axes", place: int, values: Sequence[float]) -> None:
    if not values:
        return
    many = len(values) > 1
    heights = [place + many * (0.5 * (i * _GOLDEN % 1) - 0.25) for i in range(len(values))]
    ax.plot(values, heights, "o", color="tab:blue", markersize=4, alpha=0.5, markeredgewidth=0)
    mean = sum(values) / len(values)
    ax.plot([mean, mean], [place - 0.32, place + 0.32], color="tab:red", linewidth=1.6)
