"""The clock is set back: nothing is lost, no time is negative, nothing in use is removed."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.config.schema import Config
from bench.data import ImageCache, decode, scan
from bench.files.caches import clean, entries
from bench.sweep.journal import Entry, Journal
from tests.bench.cells_of import run_cell
from tests.bench.conftest import FAST, assert_nothing_partial, records
from tests.bench.data.images import preprocessing
from tests.processes import Process

pytestmark = pytest.mark.faults

Make = Callable[..., Config]
DAY = 86_400.0


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the clock is an hour before the last one."""
    real, looks = time.time, iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(looks))
    yield


def test_a_journal_never_says_a_negative_time(tmp_path: Path, backwards: None) -> None:
    journal = Journal(tmp_path / "jobs.jsonl", 5)
    for number in range(4):
        journal.add(Entry("done", "a cell", f"{number}"))
        assert journal.position() == f"[{number + 1}/5]"
    Journal.forget()


def test_a_cell_is_measured_and_found(make_fast: Make, outputs: Path, backwards: None) -> None:
    first = run_cell(make_fast()).result
    assert first is not None and first.status == "done"
    assert all(seconds >= 0 for seconds in first.seconds.values())
    assert run_cell(make_fast()).kind == "found"
    again = run_cell(make_fast({"force": True})).result
    assert again is not None and again.correct == first.correct
    assert_nothing_partial(outputs)


def test_cleaning_leaves_what_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in use have the oldest time of all, as after a clock that was a day ahead."""
    config = {"name": "mnist5k", "limit": 20}
    cache = tmp_path / "cache"
    used = decode(scan(config, "eval"), config, preprocessing(), ImageCache(cache))
    idle = decode(scan(config, "eval"), config, preprocessing(size=6), ImageCache(cache))
    assert used.checks is not None and idle.checks is not None
    place, other = used.checks.entry.path, idle.checks.entry.path
    del idle
    for folder, moment in ((place, 1 * DAY), (other, time.time() + DAY)):
        for file in folder.iterdir():
            os.utime(file, (moment, moment))
    monkeypatch.setattr(time, "time", lambda: 0.5 * DAY)
    assert [usage.entry.key for usage in entries(cache)] == sorted([place.name, other.name])
    done = clean(cache, 0, dry_run=False)
    assert [usage.entry.key for usage in done.held] == [place.name]
    assert [usage.entry.key for usage in done.removed] == [other.name]
    assert used.pixels(slice(None)).shape == (20, 3, 8, 8)


CLOCK = """
import itertools, time
from bench.cli import command
real, looks = time.time, itertools.count()
time.time = lambda: real() - 60 * next(looks)
command()
"""


def test_a_sweep_whose_clock_runs_backwards(outputs: Path, workplace: Path) -> None:
    line = ("run", "-m", *FAST, "quant.w_bits=8,4", f"paths.outputs={outputs}")
    process = Process(["-c", CLOCK, *line], workplace)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in out + err
    assert not re.search(r"about -| -\d+(\.\d+)? (s|min|h)", out), out
    assert out.splitlines()[-1] == "2 cells: 2 done"
    found = records(outputs)
    assert len(found) == 3
    assert {record["status"] for record in found.values()} == {"done"}
    assert all(s >= 0 for record in found.values() for s in record["seconds"].values())
    assert_nothing_partial(outputs)
