"""What is said at the end of a sweep: its table, where to look on, and what became of its jobs."""

import logging
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cells.result import Result
from bench.cells.store import Store
from bench.sweep.journal import Entry
from bench.tables.render import render
from bench.tables.table import results_table
from models.errors import BenchError

log = logging.getLogger(__name__)


def conclusion(entries: Sequence[Entry], overrides: Sequence[str]) -> Iterator[str]:
    """Yield the table of exactly the cells of a sweep, and the lines after it.

    entries: of its jobs, in their order. overrides: as typed.
    """
    results = _results(entries)
    if sum(result.status == "done" for result in results) > 1:
        yield f"\n{_table(results)}"
        places = [word for word in overrides if word.startswith("paths.outputs=")]
        yield f"in a browser: {shlex.join(['bench', 'dashboard', '--open', *places[-1:]])}"
    reasons = Counter(entry.reason for entry in entries if entry.status == "refused")
    for reason, count in reasons.items():
        if count > 1:
            yield f"{count} times: error: {reason}"
    counts = Counter(entry.status for entry in entries)
    words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    yield f"{len(entries)} cells: {words}"


def _table(results: Sequence[Result]) -> str:
    try:
        return render(results_table(results), "text")
    except Exception as error:  # a view must not cost the exit status of hours of work
        log.debug("no table", exc_info=True)
        return f"warning: there is no table of these cells: {type(error).__name__}: {error}\n"


def _results(entries: Sequence[Entry]) -> list[Result]:
    """Return the records of the cells, each once."""
    places = dict.fromkeys((entry.outputs, entry.id) for entry in entries)
    results = []
    for outputs, id in places:
        if outputs is None or id is None:
            continue
        try:
            result = Store(Path(outputs)).read(id)
        except BenchError:  # altered meanwhile: it is said by whoever reads it next
            continue
        if result is not None:
            results.append(result)
    return results
