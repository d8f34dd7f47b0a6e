"""The reproduction ledger: of every paper, how many of its numbers are reproduced."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from bench.papers.definition import load_definition, table_names
from bench.papers.published import Published, printable
from bench.papers.table import paper_rows
from bench.papers.verdict import VERDICTS, VerdictName, in_words
from bench.tables.table import Table, TableSource

_TOTAL = "all papers"
NOT_HERE: VerdictName = "not here"
_NO_TABLE = "in no table"
_MEASURED = ("reproduced", "off", "undecided", "not comparable")


def make_ledger(published: Sequence[Published], source: TableSource) -> Table:
    """Return one row a paper: its published numbers by their verdicts; then all of them together.

    A number that no table shows is `not here`. Those that are only recalled are not counted.
    Raises BenchError as `compare_with_published`.
    """
    numbers = [p for p in published if printable(p)]
    verdicts = {id(p): NOT_HERE for p in numbers}
    reasons = {id(p): _NO_TABLE for p in numbers}
    tables, parts = [], 0
    for name in table_names():
        compared = paper_rows(name, load_definition(name), published, source).compared
        columns = (compared[name] for name in ("published", "verdict", "text"))
        judged = [row for row in zip(*columns, strict=True) if isinstance(row[0], Published)]
        of_table = {id(p): verdict for p, verdict, _ in judged}
        reasons |= {id(p): text for p, verdict, text in judged if verdict == NOT_HERE}
        words = compared.get("part", ())
        parts += sum(bool(part) for part in words if isinstance(part, str))
        tables.append(f"{name}: {in_words(Counter(of_table.values())) or 'nothing published'}")
        for key, verdict in of_table.items():  # of two tables that show it, the better one counts
            verdicts[key] = min(verdict, verdicts[key], key=VERDICTS.index)
    rows = _rows(numbers, verdicts)
    recalled = len(published) - len(numbers)
    notes = [
        "published: numbers in bench/papers/references, whatever they measure; run: cells that are "
        "measured here",
        "not here: no method, network, data set or metric for it, or in none of these tables; "
        "docs/reproducing.md has more",
        *_about_missing(numbers, verdicts, reasons),
        f"not counted: {recalled} numbers that are only recalled from memory",
        *([f"on a part of the evaluation set (evaluate.until): {parts} numbers"] if parts else []),
        *tables,
        "bench table NAME shows one of them, bench table NAME --missing what is to be run",
    ]
    return Table(rows.astype(str), rows, ["Published numbers and what became of them"], notes, [])


def _about_missing(
    published: Sequence[Published], verdicts: Mapping[int, str], reasons: Mapping[int, str]
) -> list[str]:
    """Return a line a paper: of how many numbers there is no cell here, by the reason."""
    papers: dict[str, Counter[str]] = {}
    for p in published:
        if verdicts[id(p)] == NOT_HERE:
            papers.setdefault(p.paper, Counter())[reasons[id(p)]] += 1
    return [
        f"not here of {paper}: {', '.join(f'{n} {reason}' for reason, n in counts.most_common())}"
        for paper, counts in sorted(papers.items())
    ]


def _rows(published: Sequence[Published], verdicts: Mapping[int, str]) -> pd.DataFrame:
    papers: dict[str, Counter[str]] = {}
    for p in published:
        papers.setdefault(p.paper, Counter())[verdicts[id(p)]] += 1
    everything = sum(papers.values(), Counter())
    rows = [{"paper": name} | _columns(counts) for name, counts in sorted(papers.items())]
    return pd.DataFrame([*rows, {"paper": _TOTAL} | _columns(everything)])


def _columns(counts: Counter[str]) -> dict[str, int]:
    run = sum(counts[name] for name in _MEASURED)
    names = (*_MEASURED, "failed", "not run", NOT_HERE)
    return {"published": counts.total(), "run": run} | {name: counts[name] for name in names}
