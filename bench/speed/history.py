"""What `bench speed` measured so far, so that a slowdown is seen."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.plots.draw import draw
from models.errors import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MACHINE = ["device", "cores", "threads"]
COLUMNS = ["measured_at", "git_sha", *_MACHINE, "load_average", "name", "ratio", "goal", "wanted"]
_WIDE, _ROW, _MARGIN = 10.5, 0.62, 1.0  # inches; the margin is above and below all rows
_FAR = 2.0  # times the values: a goal that far off is not drawn beside them
_TICKS = 6  # at most: more would overprint each other
_GOAL, _LINE, _MISSED, _QUIET, _PALE = "#1a7f37", "#0969da", "#bc4c00", "#59636e", "#d1d9e0"


def rows(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a ratio of one `speed.json`; the ratio itself to five digits."""
    where = document["machine"]
    common = {
        "measured_at": document["measured_at"],
        "git_sha": (document["git_sha"] or "")[:12],
        **{key: where[key] for key in (*_MACHINE, "load_average")},
    }
    each = [
        {**common, **{key: ratio[key] for key in ("name", "goal", "wanted")}}
        | {"ratio": float(f"{ratio['ratio']:.5g}")}
        for ratio in document["ratios"]
    ]
    return pd.DataFrame(each, columns=COLUMNS)


def read(path: Path) -> pd.DataFrame:
    """Return the history in a CSV file, none where there is no file.

    Raises BenchError for a file that is no history.
    """
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise BenchError(f"cannot read {path}: {error}; move it away") from error
    if list(history.columns) != COLUMNS:
        raise BenchError(f"{path} is not a history of bench speed; move it away")
    return history


def added(history: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return `history` with `new` after it; a run that it has is not added again."""
    if new["measured_at"].isin(history["measured_at"]).any():
        return history
    return new if history.empty else pd.concat([history, new], ignore_index=True)


def text(history: pd.DataFrame) -> str:
    """Return the history as CSV."""
    out = StringIO()
    history.to_csv(out, index=False, lineterminator="\n")
    return out.getvalue()


def comparable(history: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the machine, threads included, that was measured last."""
    last = history.iloc[-1]
    same = pd.Series(True, index=history.index)
    for key in _MACHINE:
        same &= history[key] == last[key]
    return history[same]


def plot(history: pd.DataFrame, path: Path) -> None:
    """Write a PNG: a row for each ratio with a goal that was measured last, over the same runs."""
    history = comparable(history)
    runs = list(dict.fromkeys(history["measured_at"]))
    latest = history[(history["measured_at"] == runs[-1]) & history["goal"].notna()]
    size = _WIDE, _ROW * max(1, len(latest)) + _MARGIN
    draw(lambda figure: _paint(figure, history, runs, latest), path, size, dpi=120, layout=None)


def _paint(
    figure: "Figure", history: pd.DataFrame, runs: Sequence[str], latest: pd.DataFrame
) -> None:
    height = figure.get_figheight()
    rows = figure.subplots(max(1, len(latest)), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        **{"left": 0.36, "right": 0.74, "hspace": 0.5},
        **{"top": 1 - 0.4 / height, "bottom": (_MARGIN - 0.4) / height},
    )
    for axes, (_, ratio) in zip(rows, latest.iterrows(), strict=False):
        each = history[history["name"] == ratio["name"]]
        places = [runs.index(at) for at in each["measured_at"]]
        _row(axes, places, list(each["ratio"]), ratio)
    for axes in rows[len(latest) :]:
        axes.set_axis_off()
    rows[-1].set_xlim(-0.5, len(runs) - 0.5)
    some = slice(None, None, -(-len(runs) // _TICKS))
    rows[-1].set_xticks(range(len(runs))[some], moments(runs)[some], fontsize=7)
    figure.text(0.36, 1 - 0.22 / height, "run by run, each on a scale of its own", fontsize=8)
    figure.text(0.75, 1 - 0.22 / height, "last        goal", fontsize=8, color=_QUIET)


def _row(axes: "Axes", runs: Sequence[int], values: Sequence[float], last: pd.Series) -> None:
    """Draw the course of one ratio, its name on the left, what it is and shall be on the right."""
    goal, wanted = last["goal"], last["wanted"]
    met = values[-1] <= goal if wanted == "at most" else values[-1] >= goal
    ends = [*values]
    if max(values) / _FAR < goal < min(values) * _FAR:  # else the course would be a flat line
        ends.append(goal)
        axes.axhline(goal, color=_GOAL, linestyle="--", linewidth=1, antialiased=False)
    axes.plot(runs, values, "-", color=_LINE, linewidth=1.2)
    axes.plot(runs, values, "o", color=_LINE, markersize=3.5)
    axes.plot(runs[-1:], values[-1:], "o", color=_LINE if met else _MISSED, markersize=6)
    room = 0.25 * (max(ends) - min(ends)) or 0.1 * abs(goal)
    axes.set_ylim(min(ends) - room, max(ends) + room)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PALE)
    axes.tick_params(axis="x", length=0, colors=_QUIET)
    what, _, where = last["name"].partition(": ")
    beside: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 8}
    axes.text(-0.03, 0.72, what, ha="right", va="center", **beside)
    axes.text(-0.03, 0.2, where, ha="right", va="center", color=_QUIET, **beside)
    said = f"{values[-1]:.3g}"
    axes.text(1.03, 0.5, said, va="center", color="black" if met else _MISSED, **beside)
    verdict = "" if met else ", missed"
    text = f"{wanted} {goal:g}{verdict}"
    axes.text(1.18, 0.5, text, va="center", color=_QUIET if met else _MISSED, **beside)


def moments(runs: Sequence[str]) -> list[str]:
    """Return what tells runs apart: their days, and below them the time where a day has two."""
    days = [at[:10] for at in runs]
    several = len(set(days)) < len(days)
    return [f"{day}\n{at[11:16]}" if several else day for day, at in zip(days, runs, strict=True)]
