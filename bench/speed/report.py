"""Ratios as a table, as JSON and as a picture."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tabulate import tabulate

from bench.machine.device import device_name
from bench.machine.versions import git_sha, versions
from bench.plots.draw import draw
from bench.speed.ratio import Ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"met": "#1a7f37", "not met": "#bc4c00", "no goal": "#6e7781"}
_BAR = 0.45  # inches


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the times depend on, without a name or a path of the machine.

    load_average: processes that wanted a core in the last minute, None where it is not known.
    """
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def document(ratios: Sequence[Ratio], where: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON has it. where: as `machine` described it before the first one."""
    return {
        "schema_version": 1,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(where),
        "versions": versions(),
        "git_sha": git_sha(),
        "ratios": [ratio.as_dict() for ratio in ratios],
    }


def table(ratios: Sequence[Ratio]) -> str:
    """Return the ratios for a terminal, their details below."""
    head = ("ratio", "seconds", "over", "is", "goal", "")
    rows = [
        (
            ratio.name,
            f"{ratio.above.seconds:.4g}",
            f"{ratio.below.seconds:.4g}",
            f"{ratio.value:.4g}",
            ratio.target,
            ratio.verdict,
        )
        for ratio in ratios
    ]
    align = ("left", "right", "right", "right", "left", "left")
    lines = [tabulate(rows, head, tablefmt="simple", colalign=align, disable_numparse=True)]
    for ratio in ratios:
        if "top1_percent" in ratio.details:
            top1 = ratio.details["top1_percent"]
            lines.append(
                f"top-1 at {ratio.details['cell']}: {top1['fp32']:.2f} % with images distilled in "
                f"float32, {top1['bf16']:.2f} % in bfloat16 "
                f"({ratio.details['difference_points']:+.2f} points)"
            )
    return "\n".join(lines)


_SHOWN = 4  # bars of more, or of less than its inverse, are cut


def plot(ratios: Sequence[Ratio], path: Path) -> None:
    """Write a PNG with a bar a ratio, from 1 to the ratio, and a mark at its goal.

    The scale is logarithmic; what is beyond a factor of 4 is cut there.
    """
    draw(lambda figure: _paint(figure, ratios), path, (9, 1.2 + _BAR * len(ratios)), dpi=120)


def _paint(figure: "Figure", ratios: Sequence[Ratio]) -> None:
    axes = figure.add_subplot()
    for row, ratio in enumerate(ratios):
        width = min(ratio.value, _SHOWN) - 1
        axes.barh(row, width, left=1, height=0.6, color=_COLOURS[ratio.verdict])
        text = f"{ratio.value:.4g}"
        if ratio.goal is not None:
            axes.plot([ratio.goal] * 2, [row - 0.4, row + 0.4], color="black", linewidth=2)
            text += f"  (goal {ratio.target})"
        end = min(max(ratio.value, ratio.goal or 0, 1), _SHOWN)
        axes.annotate(text, (end, row), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(ratios)), [ratio.name.replace(": ", "\n", 1) for ratio in ratios])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(ratios) - 0.4, -0.6)
    axes.set_xscale("log")  # half and twice are as far from 1
    axes.set_xlim(1 / _SHOWN, 4 * _SHOWN)  # with room for the words
    ticks = [1 / _SHOWN, 0.5, 1, 2, _SHOWN]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("seconds / seconds; green: goal met, orange: not met, grey: no goal")
    axes.spines[["top", "right"]].set_visible(False)
