"""How a training went: loss, which teachers were chosen, how the schedules of CoQuant moved."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots.draw import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING_PLOT = "training.png"

_MARKED = 30  # epochs: of fewer each has a dot, so that one alone is seen too


def plot_training(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draw the loss, and where teachers are chosen their shares, lambda and p.

    epochs: one value an epoch with `epoch`, `loss` and what the method tells; one or more.
    """
    students = list(epochs[0].get("teachers", ()))
    width = 4 * _columns(students)
    draw(lambda figure: _paint(figure, epochs, students), path, (width, 3.2))


def _columns(students: list[str]) -> int:
    return len(students) + 2 if students else 1


def _paint(figure: "Figure", epochs: list[dict[str, Any]], students: list[str]) -> None:
    axes = figure.subplots(1, _columns(students), squeeze=False)[0]
    x = [epoch["epoch"] for epoch in epochs]
    marker = "o" if len(x) < _MARKED else ""
    axes[0].plot(x, [epoch["loss"] for epoch in epochs], marker=marker, markersize=4)
    axes[0].set(ylabel="mean loss", title="training loss")
    for ax, student in zip(axes[1:], students, strict=False):
        _teachers(ax, x, [epoch["teachers"][student] for epoch in epochs])
        ax.set_title(f"teacher of {student} bits")
    if students:
        _schedules(axes[-1], x, epochs, marker)
    for ax in axes:
        _epochs(ax, x)


def _epochs(ax: "Axes", x: Sequence[int]) -> None:
    """Give each epoch the same width, and no tick between two of them."""
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", xlim=(x[0] - 0.5, x[-1] + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


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
