"""The table of peers: top-1 with intervals, paired differences, and times as ratios."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from bench.peers.rows import Job, Row
from bench.statistics.intervals import wilson_interval
from bench.statistics.significance import ALPHA, Difference, compare_cells, holm

_NONE = ""


class Pair(NamedTuple):
    """A peer's row minus one of this tool, paired by image. p_holm: corrected for all pairs."""

    first: Job
    second: Job
    difference: Difference
    p_holm: float

    @property
    def resolved(self) -> bool:
        return self.p_holm < ALPHA


def pairs_of(rows: Sequence[Row], ours: str) -> list[Pair]:
    """Return every row of another tool minus every row of `ours` at the same bits.

    p by the exact McNemar test, corrected by Holm for all pairs that are returned.
    """
    measured = [(row, right) for row in rows if (right := row.bitmap) is not None]
    here = [(row, right) for row, right in measured if row.tool == ours]
    found: list[tuple[Job, Job, Difference]] = []
    for row, right in measured:
        if row.tool in (ours, "float"):
            continue
        found += [
            (row.job, other.job, compare_cells(right, other_right))
            for other, other_right in here
            if other.bits == row.bits
        ]
    adjusted = holm([difference.p for _, _, difference in found])
    return [Pair(*each, p) for each, p in zip(found, adjusted, strict=True)]


def markdown(rows: Sequence[Row], ours: str, notes: Sequence[str]) -> str:
    """Return the table and its notes as Markdown.

    ours: the name of this tool, which the others are compared with. notes: on the tools.
    """
    floats = next((row.bitmap for row in rows if row.tool == "float"), None)
    pairs = {(pair.first, pair.second.method): pair for pair in pairs_of(rows, ours)}
    methods = list(dict.fromkeys(row.method for row in rows if row.tool == ours))
    head = ["bits", "tool", "method", "top-1 [95 %]", "float - it"]
    head += [f"it - {method} here" for method in methods]
    head += ["quantizing", "evaluation", "low weights", "low inputs"]
    reasons: list[str] = []
    body = []
    for row in _ordered(rows):
        cells = [row.bits.label, f"{row.tool} {row.version}", row.method]
        right = row.bitmap
        if right is None:
            reasons.append(
                f"[{len(reasons) + 1}] {row.tool} {row.method} at {row.bits.label}: {row.reason}"
            )
            body.append([*cells, f"none [{len(reasons)}]", *[_NONE] * (len(head) - len(cells) - 1)])
            continue
        cells += [_top1(right), _NONE if row.tool == "float" else _lost(floats, right)]
        cells += [_difference(pairs.get((row.job, method))) for method in methods]
        body.append([*cells, *_times(row), *_coverage(row)])
    table = tabulate(body, head, tablefmt="github", disable_numparse=True)
    return "\n".join([*_heading(rows), "", table, "", *_notes(rows, pairs, reasons, notes)]) + "\n"


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Return rows by bits, the most first, and of the same bits as they are."""
    return sorted(rows, key=lambda row: (-row.w_bits, -row.a_bits))


def _top1(right: np.ndarray) -> str:
    correct, total = int(right.sum()), len(right)
    low, high = wilson_interval(correct, total)
    return f"{100 * correct / total:.2f} [{low:.2f}, {high:.2f}]"


def _lost(floats: np.ndarray | None, right: np.ndarray) -> str:
    return _NONE if floats is None else _interval(compare_cells(floats, right))


def _difference(pair: Pair | None) -> str:
    if pair is None:
        return _NONE
    text = _interval(pair.difference)
    return f"**{text}**" if pair.resolved else text


def _interval(difference: Difference) -> str:
    return f"{difference.points:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def _times(row: Row) -> list[str]:
    if row.tool == "float" or not row.float_s:
        return [_NONE, _NONE]
    return [f"{(row.quantize_s or 0) / row.float_s:.2f}", f"{row.evaluate_ratio:.2f}"]


def _coverage(row: Row) -> list[str]:
    if row.tool == "float":
        return [_NONE, _NONE]
    weights = f"{row.low_weights} of {row.layers} ({row.weights_percent:.1f} %)"
    return [weights, f"{row.low_inputs} of {row.layers}"]


def _heading(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    return [
        f"{first.network} on {first.data}: {first.images:,} images, the same "
        f"{first.calibration_images} calibration images for all, seed {first.seed}  ",
        "top-1 in % [95 % Wilson interval]; differences in points [95 %, paired bootstrap over "
        "images]  ",
        "bold: resolved, exact McNemar test, corrected by Holm for all pairs of the table",
    ]


def _notes(
    rows: Sequence[Row],
    pairs: dict[tuple[Job, str], Pair],
    reasons: Sequence[str],
    notes: Sequence[str],
) -> list[str]:
    resolved = sum(pair.resolved for pair in pairs.values())
    loads = [row.load_average for row in rows if row.load_average is not None]
    threads = sorted({row.threads for row in rows if row.threads})
    busy = f"; load average {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    lines = [
        f"{resolved} of {len(pairs)} differences are resolved",
        "quantizing: seconds over those of a float evaluation of these images; evaluation: of a "
        "batch, fake-quantized, eager, over float, eager; of the processor where it computes, not "
        "of the clock",
        f"{' and '.join(sorted({row.device for row in rows if row.device}))}, "
        f"{', '.join(map(str, threads))} thread{'s' if threads != [1] else ''}{busy}; PyTorch "
        f"{', '.join(sorted({row.torch for row in rows if row.torch}))}",
        "low weights, low inputs: convolutions and linear layers whose weights, or inputs, one "
        "pass finds on no more levels than the bits have",
        *notes,
        *reasons,
    ]
    return [f"- {line}" for line in lines]
