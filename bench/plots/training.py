"""How a training went: loss, which teachers were chosen, how the schedules of CoQuant moved."""

from pathlib import Path
from typing import Any

TRAINING_PLOT = "training.png"


def plot_training(epochs: list[dict[str, Any]], path: Path) -> None:
    """Draw the loss, and where teachers are chosen their shares, lambda and p.

    epochs: one value an epoch with `epoch`, `loss` and what the method tells.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chooses = "teachers" in epochs[0]
    students = list(epochs[0]["teachers"]) if chooses else []
    columns = 1 + len(students) + chooses
    figure = Figure(figsize=(4 * columns, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    x = [epoch["epoch"] for epoch in epochs]
    axes[0].plot(x, [epoch["loss"] for epoch in epochs], ".-")
    axes[0].set(xlabel="epoch", ylabel="mean loss", title="training loss")
    for ax, student in zip(axes[1:], students, strict=False):
        teachers = list(epochs[0]["teachers"][student])
        counts = [[epoch["teachers"][student][t] for epoch in epochs] for t in teachers]
        steps = [max(1, sum(column)) for column in zip(*counts, strict=True)]
        shares = [[100 * n / all_ for n, all_ in zip(row, steps, strict=True)] for row in counts]
        ax.stackplot(x, *shares, labels=[f"{t} bits" for t in teachers], alpha=0.8)
        ax.set(xlabel="epoch", ylabel="steps, %", title=f"teacher of {student} bits", ylim=(0, 100))
        ax.legend(fontsize="small", loc="lower left")
    if chooses:
        last = axes[-1]
        last.plot(x, [epoch["lambda"] for epoch in epochs], "k.-", label="lambda")
        keeps = list(zip(*[epoch["keep"] for epoch in epochs], strict=True))
        for at, values in enumerate(keeps):
            shade = 0.2 + 0.8 * at / max(1, len(keeps) - 1)
            label = f"p of block {at}" if at in (0, len(keeps) - 1) else None
            last.plot(x, values, color="tab:red", alpha=shade, linewidth=0.8, label=label)
        last.set(xlabel="epoch", title="lambda, and p of each block", ylim=(0, None))
        last.legend(fontsize="small")
    figure.savefig(path, dpi=100)
