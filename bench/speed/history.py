"""What `bench speed` measured so far, so that a slowdown is seen."""

import math
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import BenchError

_MACHINE = ["device", "cores", "threads"]
COLUMNS = ["measured_at", "git_sha", *_MACHINE, "load_average", "name", "ratio", "goal", "wanted"]
_PANELS = 3  # side by side
_GOAL, _LINE = "#1a7f37", "#0969da"


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
    """Write a PNG: a panel for each ratio with a goal that was measured last, over its runs."""
    from matplotlib.figure import Figure

    history = comparable(history)
    latest = history[history["measured_at"] == history["measured_at"].iloc[-1]]
    names = list(latest.loc[latest["goal"].notna(), "name"])
    high = math.ceil(len(names) / _PANELS) or 1
    figure = Figure(figsize=(11, 0.6 + 1.9 * high), layout="constrained")
    panels = figure.subplots(high, _PANELS, squeeze=False).flatten()
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, names, strict=False):
        each = history[history["name"] == name]
        runs = range(len(each))
        panel.plot(runs, each["ratio"], "o-", color=_LINE, markersize=4)
        last = (runs[-1], each["ratio"].iloc[-1])
        panel.annotate(f"{last[1]:.3g}", last, (5, 3), textcoords="offset points", fontsize=7)
        goal, side = each["goal"].iloc[-1], each["wanted"].iloc[-1]
        panel.axhline(goal, color=_GOAL, linestyle="--", linewidth=1, antialiased=False)
        panel.set_title(f"{name.replace(': ', chr(10), 1)}\n{side} {goal:g}", fontsize=7)
        panel.set_xticks(runs, [date[:10] for date in each["measured_at"]], fontsize=6)
        panel.tick_params(axis="y", labelsize=6)
        panel.margins(x=0.25, y=0.25)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Software": None})
