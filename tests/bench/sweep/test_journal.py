import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.sweep.journal import Entry, Journal, jobs_of, readable
from models.errors import BenchError


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    yield Journal.start(tmp_path / "sweep" / "jobs.jsonl", 4)
    Journal.forget()


def test_lists_combine_in_hydras_order() -> None:
    assert jobs_of(["method=a,b", "quant.w_bits=8,4", "seed=1"]) == [
        ["method=a", "quant.w_bits=8", "seed=1"],
        ["method=a", "quant.w_bits=4", "seed=1"],
        ["method=b", "quant.w_bits=8", "seed=1"],
        ["method=b", "quant.w_bits=4", "seed=1"],
    ]


@pytest.mark.parametrize(
    ("override", "jobs"),
    [
        ("x=choice(a,b)", [["x=a"], ["x=b"]]),
        ("x=range(1,4)", [["x=1"], ["x=2"], ["x=3"]]),
        ("x=1", [["x=1"]]),
        ("x=[1,2]", [["x=[1,2]"]]),
        ("x=null", [["x=null"]]),
        ("x='a,b'", [["x='a,b'"]]),
        ("x='a b','c=d'", [["x='a b'"], ["x='c=d'"]]),
        ("data.root=/a/b,/c", [["data.root=/a/b"], ["data.root=/c"]]),
        ("+x=1,2", [["+x=1"], ["+x=2"]]),
    ],
)
def test_one_override(override: str, jobs: list[list[str]]) -> None:
    assert jobs_of([override]) == jobs


def test_nothing_is_one_job() -> None:
    assert jobs_of([]) == [[]]


def test_the_command_line_wins_over_the_experiment_and_keeps_its_place() -> None:
    swept = ["method=a,b", "seed=0,1"]
    assert jobs_of([*swept, "method=c", "x=1"]) == [
        ["method=c", "seed=0", "x=1"],
        ["method=c", "seed=1", "x=1"],
    ]


def test_an_interval_is_refused() -> None:
    with pytest.raises(BenchError) as error:
        jobs_of(["x=interval(0,1)"])
    assert str(error.value) == "x=interval(0,1): give a list of values, not an interval"


def test_entries_come_back(journal: Journal) -> None:
    entries = [Entry("done", "a=1", "f" * 16), Entry("refused", "b='x y'", None, 'no "b"\n')]
    for entry in entries:
        journal.add(entry)
    assert journal.entries() == entries
    assert journal.counts() == Counter({"done": 1, "refused": 1})


def test_the_journal_is_found_through_the_environment(journal: Journal) -> None:
    found = Journal.current()
    assert found is not None
    assert (found.path, found.total, found._start) == (journal.path, 4, journal._start)
    Journal.forget()
    assert Journal.current() is None
    Journal.forget()


def test_the_position(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = journal._start
    monkeypatch.setattr("bench.sweep.journal.time.time", lambda: now + 60)
    assert journal.position() == "[0/4]"
    journal.add(Entry("found", "a"))
    assert journal.position() == "[1/4]"  # nothing measured yet: no pace to go by
    journal.add(Entry("done", "b"))
    assert journal.position() == "[2/4, about 2 min left]"
    journal.add(Entry("failed", "c"))
    assert journal.position() == "[3/4, 1 failed, about 30 s left]"
    journal.add(Entry("refused", "d"))
    assert journal.position() == "[4/4, 2 failed]"


def test_the_position_without_a_total(tmp_path: Path) -> None:
    journal = Journal.start(tmp_path / "jobs.jsonl", None)
    Journal.forget()
    journal.add(Entry("done", "a"))
    assert journal.position() == "[1]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (8, "8 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_readable(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_lines_of_several_processes_do_not_mix(journal: Journal) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.sweep.journal import Entry, Journal\n"
        "journal = Journal.current()\n"
        "for i in range(200): journal.add(Entry('done', sys.argv[1] * 300, str(i)))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    entries = journal.entries()
    assert len(entries) == 400
    for name in "ab":
        assert [e.id for e in entries if e.label == name * 300] == [str(i) for i in range(200)]
    assert re.fullmatch(r"\[400/4\]", journal.position())


def test_each_line_is_read_once(journal: Journal) -> None:
    journal.add(Entry("done", "a"))
    assert journal.counts() == Counter({"done": 1})
    size = journal.path.stat().st_size
    journal.path.write_bytes(b"#" * (size - 1) + b"\n")  # would not be understood again
    journal.add(Entry("found", "b"))
    assert journal.counts() == Counter({"done": 1, "found": 1})


def test_what_jobs_were_refused_for(journal: Journal) -> None:
    journal.add(Entry("refused", "a", reason="no root"))
    journal.add(Entry("failed", "b", reason="no memory"))
    assert journal.has_refusal("no root")
    assert not journal.has_refusal("no memory")
    assert journal.counts() == Counter({"refused": 1, "failed": 1})
    with journal.path.open("a") as file:  # by another process
        file.write('{"status": "refused", "label": "c", "id": null, "reason": "no such bits"}\n')
    assert journal.has_refusal("no such bits")


def test_a_line_that_is_not_whole_waits(journal: Journal) -> None:
    journal.add(Entry("done", "a"))
    with journal.path.open("a") as file:
        file.write('{"status": "fai')
    assert journal.counts() == Counter({"done": 1})
    with journal.path.open("a") as file:
        file.write('led", "label": "b", "id": null, "reason": null}\n')
    assert journal.counts() == Counter({"done": 1, "failed": 1})


def test_the_number_of_jobs_is_told_later(journal: Journal) -> None:
    jobs = [["method=real", f"seed={seed}"] for seed in range(9)]
    assert journal.words(jobs[1]) == jobs[1]  # what differs is not known yet
    journal.expect(jobs)
    assert journal.position() == "[0/9]"
    found = Journal.current()
    assert found is not None
    assert (found.total, found._start) == (9, journal._start)
    assert found.words(jobs[1]) == journal.words(jobs[1]) == ["seed=1"]
    assert Journal.current() is found


def test_a_new_sweep_counts_anew(tmp_path: Path) -> None:
    for _ in range(2):
        Journal.start(tmp_path / "jobs.jsonl", 1)
        journal = Journal.current()
        assert journal is not None
        journal.add(Entry("done", "a"))
        assert journal.position() == "[1/1]"
    Journal.forget()
