"""What a reader must know of a paper's numbers: where they are from, what is doubted or unknown."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.papers.comparison import BOX_AP, MAP, NO_METHOD, selected
from bench.papers.definition import Definition
from bench.papers.published import Published, printable
from bench.papers.records import records
from bench.papers.verdict import in_words

_KINDS = {
    "paper": "in the paper",
    "release": "in the authors' repository",
    "second_hand": "quoted by others",
    "rerun": "measured by others",
}


def meaning(definition: Definition, compared: pd.DataFrame) -> list[str]:
    """Return the lines that say what the measured numbers and the verdicts are."""
    return [
        "measured: mean over seeds in %, with its 95 % interval: Student's t over three seeds or "
        f"more, {_of_fewer(compared)} over the images for fewer",
        "reproduced: the published value lies in this interval or within "
        f"{definition.tolerance:g} points of the mean, or within the spread that is published with "
        "it; difference: measured minus published",
        *_about_drops(compared, definition),
        *about_parts(compared),
    ]


def _of_fewer(compared: pd.DataFrame) -> str:
    numbers = [p for p in compared["published"] if isinstance(p, Published)]
    detects = any(p.metric in (MAP, BOX_AP) for p in numbers)
    return "a bootstrap's" if detects else "Wilson's"


def _about_drops(compared: pd.DataFrame, definition: Definition) -> list[str]:
    if compared["drop"].isna().all():
        return []
    return [
        "drop: float minus quantized top-1 in points on the same images, with its paired 95 % "
        "interval. On a part of the published images it decides: reproduced where the interval is "
        f"within {definition.drop_tolerance:g} points of the published drop, off where none of it "
        "is, else undecided"
    ]


def about_parts(compared: pd.DataFrame) -> list[str]:
    """Return a line on the cells of which a part of the images was evaluated, where there are."""
    count = sum(bool(part) for part in compared.get("part", ()) if isinstance(part, str))
    if not count:
        return []
    what = "1 number is" if count == 1 else f"{count} numbers are"
    return [
        f"{what} of a part of the evaluation set (evaluate.until), right/seen of all: the drop "
        "decides, its interval holds however often one looked before it ended"
    ]


def about_numbers(
    compared: pd.DataFrame, definition: Definition, published: Sequence[Published]
) -> list[str]:
    """Return the notes on the published numbers of a table.

    compared: as of `compare_with_published`.
    published: every number that is known, recalled ones included.
    """
    rows = records(compared)
    numbers = [row["published"] for row in rows if isinstance(row["published"], Published)]
    return [
        *_counts(rows),
        *_no_method(rows),
        *_grouped("not said of {}: {}", numbers, dict(_unknown(rows))),
        *_grouped("{}: {}", numbers, {id(p): p.note for p in numbers if p.note}),
        *dict.fromkeys(f"published: {p.source} ({_KINDS[p.kind]})" for p in numbers),
        *_recalled(definition, published),
    ]


def _counts(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    counts = Counter(row["verdict"] for row in rows if isinstance(row["published"], Published))
    return [f"{counts.total()} published numbers: {in_words(counts)}"] if counts else []


def _no_method(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    without = dict.fromkeys(r["published"].row for r in rows if r["text"] == NO_METHOD)
    return [f"{NO_METHOD}: {', '.join(without)}; docs/reproducing.md says why"] if without else []


def _unknown(rows: Sequence[Mapping[Any, Any]]) -> Iterable[tuple[int, str]]:
    for row in rows:
        if isinstance(row["published"], Published) and row["unknown"]:
            yield id(row["published"]), ", ".join(row["unknown"])


def _grouped(text: str, numbers: Sequence[Published], notes: Mapping[int, str]) -> list[str]:
    """Return one line a note, with the numbers that it is of; `notes` by the id of a number.

    A row all of whose numbers have the note is named without bits.
    """
    of_row: dict[str, set[str | None]] = {}
    for p in numbers:
        of_row.setdefault(p.row, set()).add(notes.get(id(p)))
    labels: dict[str, dict[str, None]] = {}
    for p in numbers:
        if (note := notes.get(id(p))) is not None:
            whole = len(of_row[p.row]) == 1
            labels.setdefault(note, {})[p.row if whole else _label(p)] = None
    return [text.format(", ".join(rows), note) for note, rows in labels.items()]


def _label(published: Published) -> str:
    if published.w_bits is None:
        return f"{published.row} {published.metric}"
    return f"{published.row} W{published.w_bits}A{published.a_bits}"


def _recalled(definition: Definition, published: Sequence[Published]) -> list[str]:
    hidden = [p for p in selected(definition, published) if not printable(p)]
    return [f"{len(hidden)} more, only recalled from memory, are not shown"] if hidden else []
