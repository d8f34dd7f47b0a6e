"""A cell that takes too long is recorded as such, whatever it hangs in, and leaves nothing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hydra.core.config_store import ConfigStore

import bench.measure.phases
import bench.measure.run
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.machine.processes import descendants
from bench.measure.clock import Clock
from bench.measure.limit import TimeLimit, Unfinished, time_limit
from bench.training.processes import launch
from models.errors import BenchError
from tests.bench.cells_of import run_cell
from tests.bench.conftest import Finished, assert_nothing_partial, records
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

Make = Callable[..., Config]

# A method of a user's own. Locking a mutex twice waits for ever, and no signal ends that; through
# PyDLL while holding the interpreter's lock.
HANGS = """
import ctypes, signal, subprocess, sys, time
from dataclasses import dataclass
import torch
import bench.measure.limit
from methods.base import Calibration, Method
from tests.waiting import wait_until

bench.measure.limit.GRACE_SECONDS = 2.0


def deadlock(library):
    mutex = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


@dataclass(frozen=True)
class Hangs(Method):
    name = "hangs"
    version = 1
    how: str = "not"

    def calibrate(self, network, context):
        if self.how.startswith("in_c"):
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            print("child", subprocess.Popen(sleep).pid, flush=True)
        if self.how == "in_python":
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # the limit, whatever came before took
            time.sleep(600)
        if self.how == "in_c":
            deadlock(ctypes.CDLL(None))
        if self.how == "in_c_with_the_lock":
            deadlock(ctypes.PyDLL(None))
        shape = (4, *context.input_shape)
        return Calibration(torch.randn(shape, generator=context.generator("images")))
"""


@pytest.fixture
def hanging(workplace: Path) -> Path:
    (workplace / "hangs.py").write_text(HANGS)
    return workplace


def line(outputs: Path, *more: str) -> list[str]:
    given = ["data.limit=100", "tracking=none", "method=hangs:Hangs", f"paths.outputs={outputs}"]
    return ["run", "-m", *given, *more]


def never_recorded() -> Unfinished:
    raise AssertionError("there is no limit")


def unfinished(folder: Path, result: Result) -> Callable[[], Unfinished]:
    return lambda: Unfinished(folder, folder / "pending", "a: 1\n", result)


def children() -> list[psutil.Process]:
    return descendants(os.getpid())


def wait_for_end(*processes: int) -> None:
    """Wait until all have ended; one that nobody waited for has ended too."""

    def ended() -> bool:
        paths = [Path(f"/proc/{process}/stat") for process in processes]
        stats = [path.read_text() for path in paths if path.exists()]
        return all(stat.rpartition(")")[2].split()[0] == "Z" for stat in stats)

    wait_until(ended, f"processes {processes} have ended")


def test_without_a_limit_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGALRM), children()
    with time_limit(None, Clock(), never_recorded):
        assert (signal.getsignal(signal.SIGALRM), children()) == before


def test_a_block_that_ends_in_time(tmp_path: Path, make_result: Callable[..., Result]) -> None:
    before = signal.getsignal(signal.SIGALRM), children()
    with time_limit(60, Clock(), unfinished(tmp_path, make_result())):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
        assert len(children()) == len(before[1]) + 1
    assert (signal.getsignal(signal.SIGALRM), children()) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_is_its_own(
    tmp_path: Path, make_result: Callable[..., Result]
) -> None:
    before = signal.getsignal(signal.SIGALRM), children()
    with (
        pytest.raises(ZeroDivisionError),
        time_limit(60, Clock(), unfinished(tmp_path, make_result())),
    ):
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGALRM), children()) == before


def test_a_library_that_tries_again_does_not_swallow_it(
    tmp_path: Path, make_result: Callable[..., Result]
) -> None:
    clock = Clock()
    with (
        pytest.raises(TimeLimit, match=r"^time limit: 0.2 s passed in phase train$"),
        time_limit(0.2, clock, unfinished(tmp_path, make_result())),
        clock.phase("train"),
    ):
        try:
            time.sleep(60)
        except Exception:
            time.sleep(60)


def test_in_another_thread_it_is_refused() -> None:
    errors: list[BenchError] = []

    def work() -> None:
        try:
            with time_limit(1, Clock(), never_recorded):
                pass
        except BenchError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert str(errors[0]).startswith("runtime.limit_s needs the main thread of a process")


@pytest.fixture
def slow_evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let an evaluation take so many seconds more, and the time of its cell end within them.

    A limit that began with the cell would end before its evaluation where the machine is busy.
    """
    original = bench.measure.phases.evaluate

    def install(seconds: float) -> None:
        def slow(*args: Any) -> Any:
            if seconds:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
            time.sleep(seconds)
            return original(*args)

        monkeypatch.setattr("bench.measure.phases.evaluate", slow)

    return install


def test_a_cell_that_takes_too_long(
    make_fast: Make, outputs: Path, slow_evaluation: Callable[[float], None]
) -> None:
    run_cell(make_fast({"quant.w_bits": 32, "quant.a_bits": 32}))
    slow_evaluation(600)
    result = run_cell(make_fast({"runtime.limit_s": 300})).result
    assert result is not None
    assert (result.status, result.top1) == ("failed", None)
    assert result.reason == "time limit: 300 s passed in phase evaluate"
    assert result.traceback is not None and "time.sleep(seconds)" in result.traceback
    assert result.runtime["limit_s"] == 300
    assert 0.1 <= result.seconds["total"] < 300
    assert_nothing_partial(outputs)

    slow_evaluation(0)
    again = run_cell(make_fast({"runtime.limit_s": 300}))
    assert again.result is not None
    assert (again.kind, again.id, again.result.status) == ("measured", result.id, "done")


def test_the_limit_costs_no_earlier_number(
    make_fast: Make, outputs: Path, slow_evaluation: Callable[[float], None]
) -> None:
    id = run_cell(make_fast()).id
    first = Store(outputs).read(id)
    slow_evaluation(600)
    again = run_cell(make_fast({"force": True, "runtime.limit_s": 300})).result
    assert again is not None and again.status == "failed"
    assert Store(outputs).read(id) == first
    assert_nothing_partial(outputs)


def test_a_float_cell_has_a_limit_of_its_own(
    make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []
    original = bench.measure.run.time_limit

    @contextmanager
    def watched(*given: Any) -> Iterator[None]:
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        with original(*given):
            yield
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])

    monkeypatch.setattr(bench.measure.run, "time_limit", watched)
    result = run_cell(make_fast({"runtime.limit_s": 600})).result
    assert result is not None and result.status == "done"
    # Two, and neither inside the other.
    assert left == [0, 0, 0, 0]


def test_a_float_cell_that_takes_too_long_is_the_reason(
    make_fast: Make, slow_evaluation: Callable[[float], None]
) -> None:
    slow_evaluation(600)
    result = run_cell(make_fast({"runtime.limit_s": 300})).result
    assert result is not None
    assert result.reason == (
        "the float network could not be measured: time limit: 300 s passed in phase evaluate"
    )


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "soon"])
def test_impossible_limits(make_fast: Make, value: object) -> None:
    with pytest.raises(BenchError, match=r"config runtime\.limit_s="):
        make_fast({"runtime.limit_s": value})


def test_a_sweep_goes_on_after_a_cell_that_sleeps(
    hanging: Path, bench_main: Callable[..., Finished], outputs: Path
) -> None:
    (hanging / "hangs.py").write_text(HANGS.replace("bench.measure.limit.GRACE_SECONDS = 2.0", ""))
    repo = ConfigStore.instance().repo
    before = dict(repo.get("method", {}))
    try:
        done = bench_main(*line(outputs, "method.how=in_python,not", "runtime.limit_s=300"))
    finally:
        repo["method"] = before
        sys.modules.pop("hangs", None)
    assert done.status == 1
    assert done.out.splitlines()[-1] == "2 cells: 1 done, 1 failed"
    reasons = {record["status"]: record["reason"] for record in records(outputs).values()}
    assert reasons["failed"] == "time limit: 300 s passed in phase synthesise"


@pytest.mark.parametrize(
    "how", [pytest.param("in_c", marks=pytest.mark.slow), "in_c_with_the_lock"]
)
def test_a_cell_that_hangs_in_c(
    how: str, hanging: Path, bench_process: Callable[..., Finished], outputs: Path
) -> None:
    start = time.monotonic()
    done = bench_process(*line(outputs, f"method.how={how},not", "runtime.limit_s=3"))
    assert time.monotonic() - start < 250  # far from the 600 s that it would take
    assert done.status == 1
    by_status = {record["status"]: record for record in records(outputs).values()}
    failed = by_status["failed"]
    reason = "time limit: 3 s passed in phase synthesise"
    assert failed["reason"] == reason
    assert 'hangs.py", line' in failed["traceback"] and "in deadlock" in failed["traceback"]
    assert failed["runtime"]["limit_s"] == 3
    assert failed["seconds"]["total"] > 3
    folder = outputs / "cells" / failed["id"]
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "log.txt", "result.json"}
    assert (folder / "log.txt").read_text().endswith(f"{reason}; the process was ended\n")
    assert done.err.splitlines()[-1] == (
        f"error: resnet20 mnist5k hangs W8A8 seed 0: {reason}, and it could not be interrupted: "
        f"the process was ended; run the same command again for what remains  {failed['id']}"
    )
    assert_nothing_partial(outputs)
    (child,) = [text.split()[1] for text in done.out.splitlines() if text.startswith("child ")]
    wait_for_end(int(child))

    # The next run tries the cell again, and goes on to the others where that is left out.
    rest = bench_process(*line(outputs, "method.how=not", "runtime.limit_s=60"))
    assert rest.status == 0
    statuses = sorted(record["status"] for record in records(outputs).values())
    assert statuses == ["done", "done", "failed"]


@pytest.mark.slow
def test_a_hang_costs_no_earlier_number(
    hanging: Path, bench_process: Callable[..., Finished], outputs: Path
) -> None:
    once = line(outputs, "method.how=not")
    assert bench_process(*once).status == 0
    before = records(outputs)
    # The same cell, whose method now hangs in C.
    text = (hanging / "hangs.py").read_text()
    (hanging / "hangs.py").write_text(text.replace('if self.how == "in_c"', "if True"))
    done = bench_process(*once, "force=true", "runtime.limit_s=2")
    assert done.status == 1
    assert "; the earlier result is kept; run the same command" in done.err
    assert records(outputs) == before
    assert_nothing_partial(outputs)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_is_stopped_or_killed(
    number: signal.Signals, tmp_path: Path, make_result: Callable[..., Result]
) -> None:
    """Stopped, not even C code of its own can end it; killed, no time limit passed."""
    (tmp_path / "result.json").write_text(make_result(status="failed").model_dump_json())
    code = (
        "import sys, time, bench.measure.limit; from pathlib import Path\n"
        "from bench.measure.clock import Clock; from bench.cells.result import Result\n"
        "bench.measure.limit.GRACE_SECONDS = 2.0; folder = Path(sys.argv[1])\n"
        "result = Result.model_validate_json((folder / 'result.json').read_text())\n"
        "last = bench.measure.limit.Unfinished(folder, folder / 'pending', 'a: 1', result)\n"
        "with bench.measure.limit.time_limit(2, Clock(), lambda: last):\n"
        "    print('in', flush=True); time.sleep(1.9); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "in\n"
    (guard,) = descendants(process.pid)
    process.send_signal(number)
    assert process.wait(30) == -signal.SIGKILL
    errors = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    wait_for_end(guard.pid)
    found = records(tmp_path)
    if number == signal.SIGKILL:
        assert (errors, found) == ("", {})
    else:
        (record,) = found.values()
        assert record["reason"] == "time limit: 2 s passed in phase start"
        assert record["traceback"] == "the process did not run any more"
        assert (tmp_path / "cells" / record["id"] / "config.yaml").read_text() == "a: 1"
        assert errors.startswith("error: resnet20 mnist5k gaussian W4A8 seed 1: time limit: 2 s")


def hang(fabric: Any, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.slow
def test_the_processes_of_a_training_end_with_the_time(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    class Interrupted(Exception):
        """What the limit, or a user, raises."""

    def when_both_are_there(number: int, frame: object) -> None:
        if len(list(seen.iterdir())) < 2:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return
        raise Interrupted

    earlier = signal.signal(signal.SIGALRM, when_both_are_there)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            launch(2, torch.device("cpu"), hang, seen)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    started = [int(path.name) for path in seen.iterdir()]
    assert len(started) == 2
    wait_for_end(*started)
    assert multiprocessing.active_children() == []


def test_a_record_says_what_its_limit_was(make_fast: Make, outputs: Path) -> None:
    id = run_cell(make_fast({"runtime.limit_s": 60})).id
    record = json.loads((outputs / "cells" / id / "result.json").read_bytes())
    assert record["runtime"]["limit_s"] == 60
    assert run_cell(make_fast()).kind == "found"  # it is part of no identity
