"""How a training went: loss, what the method tells over time, teachers and schedules of CoQuant."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING_PLOT = "training.png"

_MARKED = 30  # epochs: of fewer each has a dot, so that one alone is seen too


def plot_training(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draw the loss, each curve with its target, and of chosen teachers their shares, lambda and p.

    epochs: one value an epoch with `epoch`, `loss` and what the method tells; one or more. Curves
        that are called alike up to a slash are lines of one panel.
    """
    students = list(epochs[0].get("teachers", ()))
    columns = 1 + (len(students) + 1 if students else 0) + len(_panels(epochs))
    size = 4 * columns, 3.2
    draw(lambda figure: _paint(figure.subplots(1, columns, squeeze=False)[0], epochs), path, size)


def curve_points(epochs: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each curve of a training: (epoch, value), whole epochs being their ends.

    epochs: as of `plot_training`; what `curves` has in each lies evenly in it.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for epoch in epochs:
        for name, values in epoch.get("curves", {}).items():
            places = [epoch["epoch"] - 1 + (at + 1) / len(values) for at in range(len(values))]
            points.setdefault(name, []).extend(zip(places, values, strict=True))
    return points


def _panels(epochs: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return the points of the curves by the title of their panel and by their label there."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, points in curve_points(epochs).items():
        title, _, label = name.partition("/")
        panels.setdefault(title, {})[label] = points
    return panels


def _paint(axes: Sequence["Axes"], epochs: list[dict[str, Any]]) -> None:
    students = list(epochs[0].get("teachers", ()))
    x = [epoch["epoch"] for epoch in epochs]
    marker = "o" if len(x) < _MARKED else ""
    axes[0].plot(x, [epoch["loss"] for epoch in epochs], marker=marker, markersize=4)
    axes[0].set(ylabel="mean loss", title="training loss")
    for ax, student in zip(axes[1:], students, strict=False):
        _teachers(ax, x, [epoch["teachers"][student] for epoch in epochs])
        ax.set_title(f"teacher of {student} bits")
    if students:
        _schedules(axes[1 + len(students)], x, epochs, marker)
    for ax in axes:
        _epochs(ax, x)
    panels = _panels(epochs)
    for ax, (title, curves) in zip(axes[len(axes) - len(panels) :], panels.items(), strict=True):
        targets = [epoch["targets"][title] for epoch in epochs if title in epoch.get("targets", ())]
        _curves(ax, curves, {*targets})
        ax.set(title=title, xlim=(x[0] - 1, x[-1]))


def _epochs(ax: "Axes", x: Sequence[int]) -> None:
    """Give each epoch the same width, and no tick between two of them."""
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", xlim=(x[0] - 0.5, x[-1] + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def _curves(
    ax: "Axes", curves: Mapping[str, Sequence[tuple[float, float]]], targets: set[float]
) -> None:
    for label, points in curves.items():
        marker = "" if len(points) > _MARKED else "o"
        ax.plot(*zip(*points, strict=True), marker=marker, markersize=4, label=label or None)
    for target in targets:
        ax.axhline(target, color="tab:red", linestyle="--", linewidth=1, label="target")
    if targets or any(curves):
        ax.legend(fontsize="small")


def _teachers(ax: "Axes", x: Sequence[int], counts: Sequence[dict[Any, int]]) -> None:
    """Draw the shares of the teachers as a column an epoch. counts: steps by teacher, by epoch."""
    steps = [max(1, sum(of.values())) for of in counts]
    floor = [0.0] * len(x)
    for teacher in counts[0]:
        shares = [100 * of[teacher] / all_ for of, all_ in zip(counts, steps, strict=True)]
        # Columns that touch, and not areas between epochs: one epoch has no area.
        ax.bar(x, shares, width=1.0, bottom=floor, label=f"{teacher} bits", alpha=0.8)
        floor = [low + share for low, share in zip(floor, shares, strict=True)]
    ax.set(ylabel="steps, %", ylim=(0, 100))
    ax.legend(fontsize="small", loc="lower left")


def _schedules(ax: "Axes", x: Sequence[int], epochs: list[dict[str, Any]], marker: str) -> None:
    lambdas = [epoch["lambda"] for epoch in epochs]
    ax.plot(x, lambdas, color="black", marker=marker, markersize=4, label="lambda")
    keeps = list(zip(*[epoch["keep"] for epoch in epochs], strict=True))
    last = len(keeps) - 1
    for at, values in enumerate(keeps):
        shade = 0.2 + 0.8 * at / max(1, last)
        label = f"p of block {at}" if at in (0, last) else None
        line: dict[str, Any] = {
            "color": "tab:red",
            "alpha": shade,
            "linewidth": 0.8,
            "label": label,
        }
        ax.plot(x, values, marker=marker, markersize=3, **line)
    ax.set(title="lambda, and p of each block", ylim=(0, None))
    ax.legend(fontsize="small")
