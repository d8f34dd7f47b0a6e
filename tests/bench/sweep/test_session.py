import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import bench.sweep.session
from bench.cells.cell import Cell
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.measure.resources import Resources
from bench.measure.run import Outcome, run_cell
from bench.sweep.journal import Entry, Journal
from bench.sweep.session import Session, describe
from models.errors import BenchError
from tests.bench.conftest import records
from tests.spy import lines_of

Make = Callable[..., Config]


def composed(config: Config) -> DictConfig:
    """What Hydra would hand over."""
    return OmegaConf.create(config.model_dump(mode="json"))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a job logs for people."""
    return lines_of(monkeypatch, "bench.sweep.session", "info", "warning")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    chosen = dict.fromkeys(("model", "data", "method", "quant", "recipe"), "one")
    task = SimpleNamespace(
        overrides=SimpleNamespace(task=["a=1", "b=2"]), runtime=SimpleNamespace(choices=chosen)
    )
    monkeypatch.setattr(bench.sweep.session, "HydraConfig", SimpleNamespace(get=lambda: task))
    return Session(Resources())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    yield Journal.start(tmp_path / "sweep" / "jobs.jsonl", 2)
    Journal.forget()


def test_describe(make_result: Callable[..., Result]) -> None:
    result = make_result(correct=9, top1=90.0)
    what = "resnet20 mnist5k gaussian W4A8 seed 1"
    numbers = f"{what}: 90.00 % [59.58, 98.21], float 100.00 %"
    assert describe(Entry("done", "a=1"), result) == f"{numbers}, 1.5 s  0123456789abcdef"
    assert describe(Entry("found", "a=1"), result) == f"{numbers}, known  0123456789abcdef"
    failed = make_result(status="failed", reason="no memory")
    assert describe(Entry("failed", "a=1"), failed) == (
        f"{what}: failed: no memory  0123456789abcdef"
    )
    varying = ["method=gaussian", "quant.a_range=mse", "seed=1", "quant=w4a8"]
    assert describe(Entry("failed", "a=1"), failed, varying) == (
        f"{what} quant.a_range=mse: failed: no memory  0123456789abcdef"
    )
    assert describe(Entry("refused", "a=1", reason="no"), None) == "error: no (a=1)"


def test_relative_paths_are_those_of_where_the_command_is_typed(
    session: Session, make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hydra.job.chdir=true Hydra calls each job in a folder of its own."""
    typed = Path.cwd()
    config = make_fast({"paths.outputs": os.path.relpath(tmp_path / "outputs", typed)})
    for _ in range(2):
        folder = tmp_path / "outputs" / "sweeps" / "now"
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folder)
        session(composed(config))
    monkeypatch.chdir(typed)
    assert [entry.status for entry in session.finish()] == ["done", "found"]
    assert len(records(tmp_path / "outputs")) == 2
    assert [path.name for path in folder.iterdir()] == []


def test_a_job_is_measured_then_found(session: Session, make_fast: Make, lines: list[str]) -> None:
    for _ in range(2):
        session(composed(make_fast()))
    entries = session.finish()
    assert [(entry.status, entry.label) for entry in entries] == [
        ("done", "a=1 b=2"),
        ("found", "a=1 b=2"),
    ]
    assert entries[0].id == entries[1].id
    assert len(lines) == 2
    assert lines[1].endswith(f"known  {entries[0].id}")


def test_what_a_reader_must_know_is_said_below_the_number(
    session: Session, make_result: Callable[..., Result], lines: list[str]
) -> None:
    result = make_result(warnings=["half of it stays float", "it follows the batch"])
    session._note(Entry("done", "a=1", result.id), "a number", result.warnings)
    assert lines == [
        "a number",
        "  warning: half of it stays float",
        "  warning: it follows the batch",
    ]


def test_what_killed_processes_left_is_removed_first(
    session: Session, make_fast: Make, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = outputs / "pending" / "0000000000000000.new"
    stale.mkdir(parents=True)
    seen: list[bool] = []

    def watched(cell: Cell, resources: Resources, wait: bool) -> Outcome:
        seen.append(stale.exists())
        return run_cell(cell, resources, wait)

    monkeypatch.setattr(bench.sweep.session, "run_cell", watched)
    session(composed(make_fast()))
    assert seen == [False]
    # Once is enough: what appears later belongs to a living process, or to the next sweep.
    stale.mkdir()
    session(composed(make_fast()))
    assert seen == [False, True]


@pytest.mark.parametrize("error", [BenchError("no such cell"), OSError(28, "No space left")])
def test_what_cannot_be_done_is_refused_in_one_line(
    session: Session,
    make_fast: Make,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Outcome:
        raise error

    monkeypatch.setattr(bench.sweep.session, "run_cell", broken)
    session(composed(make_fast()))
    assert session.finish() == [Entry("refused", "a=1 b=2", reason=str(error))]
    assert lines == [f"error: {error} (a=1 b=2)"]


def test_workers_say_the_same_refusal_once(
    session: Session, journal: Journal, make_fast: Make, lines: list[str]
) -> None:
    for bits in (17, 17, 18, 17):  # a launcher gives each job a copy of the session
        config = composed(make_fast())
        config.quant.w_bits = bits
        pickle.loads(pickle.dumps(session))(config)
    assert [line.partition("; ")[0].partition("] ")[2] for line in lines] == [
        "error: quant.w_bits=17 is impossible",
        "error: quant.w_bits=18 is impossible",
    ]
    assert [entry.status for entry in journal.entries()] == ["refused"] * 4


def test_a_value_that_does_not_fit_is_refused(session: Session, make_fast: Make) -> None:
    config = composed(make_fast())
    config.quant.w_bits = 17
    session(config)
    (entry,) = session.finish()
    assert (entry.status, entry.id) == ("refused", None)
    assert entry.reason == "quant.w_bits=17 is impossible; give 2..16, or 32 for float"


def test_a_cell_in_other_hands_is_done_last(
    session: Session,
    journal: Journal,
    make_fast: Make,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[tuple[int, bool]] = []

    def other_has_seed_0(cell: Cell, resources: Resources, wait: bool) -> Outcome:
        waits.append((cell.seed, wait))
        if cell.seed == 0 and not wait:
            return Outcome("busy", cell, None)
        return run_cell(cell, resources)

    monkeypatch.setattr(bench.sweep.session, "run_cell", other_has_seed_0)
    for seed in (0, 1):
        session(composed(make_fast({"seed": seed})))
    entries = session.finish()
    assert waits == [(0, False), (1, False), (0, True)]
    assert [entry.status for entry in entries] == ["done", "done"]
    assert lines[0].startswith("[1/2, about ")
    assert lines[1] == "waiting for 1 cells that another process measures"
    assert lines[2].startswith("[2/2] resnet20 mnist5k gaussian W8A8 seed 0 a=1 b=2: ")


def test_a_cell_in_other_hands_may_turn_out_bad(
    session: Session, journal: Journal, make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_later(cell: Cell, resources: Resources, wait: bool) -> Outcome:
        if not wait:
            return Outcome("busy", cell, None)
        raise BenchError("the record is damaged")

    monkeypatch.setattr(bench.sweep.session, "run_cell", broken_later)
    session(composed(make_fast()))
    assert session.finish() == [Entry("refused", "a=1 b=2", reason="the record is damaged")]


def test_a_launchers_worker_waits(
    session: Session, journal: Journal, make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[bool] = []

    def watched(cell: Cell, resources: Resources, wait: bool) -> Outcome:
        waits.append(wait)
        return run_cell(cell, resources, wait)

    monkeypatch.setattr(bench.sweep.session, "run_cell", watched)
    copy = pickle.loads(pickle.dumps(session))
    Journal.forget()  # a worker's environment need not be that of the sweep
    copy(composed(make_fast()))
    assert waits == [True]
    assert [(entry.status, entry.label) for entry in journal.entries()] == [("done", "a=1 b=2")]


def test_who_started_the_sweep_uploads_what_its_workers_wrote(
    session: Session, journal: Journal, make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.sweep.session, "effective_mode", lambda mode: (mode, None))
    monkeypatch.setattr(bench.sweep.session, "track", lambda result, *_: Path(f"run-{result.id}"))
    added: list[Path] = []
    monkeypatch.setattr(bench.sweep.session.Uploads, "add", lambda self, run: added.append(run))
    copy = pickle.loads(pickle.dumps(session))
    copy(composed(make_fast({"tracking.mode": "online"})))
    assert added == []
    (entry,) = session.finish()
    assert Path(f"run-{entry.id}").resolve() in added
    assert len(added) == 2  # the float cell has a run too


def test_a_job_that_is_started_again_counts_once(session: Session, tmp_path: Path) -> None:
    journal = Journal.start(tmp_path / "jobs.jsonl", 2)
    for entry in (Entry("failed", "a"), Entry("done", "b"), Entry("done", "a")):
        journal.add(entry)
    assert session.finish() == [Entry("done", "a"), Entry("done", "b")]
    Journal.forget()


def test_the_float_cell_is_tracked_too(
    session: Session,
    journal: Journal,
    make_fast: Make,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the words that tell its cells apart: it has neither the method nor the quantizer."""
    tracked: list[tuple[str, str, str, list[str]]] = []

    def track(result: Result, config: Config, mode: str, words: list[str]) -> None:
        tracked.append((result.id, config.method["name"], mode, words))

    words = ["data.limit=10", "quant.a_range=mse", "method=gaussian"]
    monkeypatch.setattr(Journal, "words", lambda *_: words)
    monkeypatch.setattr(bench.sweep.session, "track", track)
    session(composed(make_fast({"tracking.mode": "offline"})))
    by_method = {record["method"]: id for id, record in records(outputs).items()}
    assert tracked == [
        (by_method["gaussian"], "gaussian", "offline", words),
        (by_method["float"], "float", "offline", ["data.limit=10"]),
    ]
    assert Store(outputs).read_note(by_method["float"], "tracking") is None
