"""Effects of choices with their intervals, the largest first."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plots.draw import draw
from bench.statistics.factorial import Effect

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_effects(effects: Mapping[str, Effect], path: Path) -> None:
    """Draw each effect, in points, as a dot with its interval; those off zero are filled."""
    size = 4 + 0.07 * max(map(len, effects)), 1.0 + 0.32 * len(effects)
    draw(lambda figure: _paint(figure, effects), path, size, dpi=120)


def _paint(figure: "Figure", effects: Mapping[str, Effect]) -> None:
    ax = figure.subplots()
    ordered = sorted(effects.items(), key=lambda item: -abs(item[1].points))
    ax.axvline(0, color="0.6", linewidth=0.8)
    for place, (_, effect) in enumerate(ordered):
        resolved = effect.low > 0 or effect.high < 0
        ax.plot([effect.low, effect.high], [place, place], color="tab:blue", linewidth=1.2)
        face = "tab:blue" if resolved else "white"
        ax.plot(effect.points, place, "o", color="tab:blue", markerfacecolor=face, markersize=5)
    ax.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    ax.set_ylim(len(ordered) - 0.5, -0.5)
    ax.set_xlabel("top-1, points")
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
