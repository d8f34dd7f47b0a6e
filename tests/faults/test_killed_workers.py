"""Killed twenty times at random moments, and two sweeps at once: every cell once, nothing lost."""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from bench.cells.store import Store
from tests.bench.conftest import assert_nothing_partial, records, start_bench
from tests.processes import Process
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

LINE = ("run", "-m", "tracking=none", "data.limit=200", "method=gaussian,real", "seed=0,1,2",
        "quant.w_bits=8,4")  # fmt: skip
CELLS = 12


def finished(outputs: Path) -> dict[str, bytes]:
    """The results that are there, as they are on the disk."""
    store = Store(outputs)
    folders = sorted(store.cells.iterdir()) if store.cells.is_dir() else []
    return {
        folder.name: (folder / "result.json").read_bytes()
        for folder in folders
        if store.finished(folder.name)
    }


def in_group(group: int) -> list[str]:
    """The processes of a process group that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def measured(outputs: Path) -> Counter[str]:
    """How often each cell was measured, as the journals of all sweeps have it."""
    journals = (outputs / "sweeps").glob("*/jobs-*.jsonl")
    lines = [line for journal in journals for line in journal.read_text().splitlines()]
    entries = [json.loads(line) for line in lines]
    return Counter(entry["id"] for entry in entries if entry["status"] == "done")


def check(outputs: Path) -> None:
    found = records(outputs)
    assert {record["status"] for record in found.values()} == {"done"}
    assert len(found) == CELLS + 1
    assert len({record["request_id"] for record in found.values()}) == CELLS + 1
    assert Store(outputs).inventory().left_out == []
    for id in found:
        assert len(Store(outputs).items(id).top1) == 200
    assert_nothing_partial(outputs)
    assert not (outputs / "altered").exists()


JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_twenty_kills(
    launcher: tuple[str, ...], outputs: Path, workplace: Path, moments: random.Random
) -> None:
    """Of any one process of the sweep; what the others are doing may be finished or lost."""
    line = (*LINE, *launcher, f"paths.outputs={outputs}")
    kills, known = 0, finished(outputs)
    while kills < 20:
        process = start_bench(*line, cwd=workplace)
        # A start takes some seconds, and a cell a part of one.
        deadline = time.monotonic() + moments.uniform(0.5, 12 if launcher else 8)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        victims = in_group(process.pid)
        if process.poll() is None and victims:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(int(moments.choice(victims)), signal.SIGKILL)
            kills += 1
        process.communicate(timeout=300)
        wait_until(lambda: not in_group(process.pid), "all that it started has ended")  # noqa: B023
        now = finished(outputs)
        assert known.items() <= now.items(), "what was finished stays as it is"
        known = now
        if process.returncode == 0:  # all is done: begin anew, with what was killed on the way
            check(outputs)
            for folder in Store(outputs).cells.iterdir():
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
            known = {}
    last = start_bench(*line, cwd=workplace)
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, (out, err)
    assert known.items() <= finished(outputs).items()
    check(outputs)


@pytest.mark.slow
def test_two_sweeps_at_once(outputs: Path, workplace: Path) -> None:
    line = (*LINE, f"paths.outputs={outputs}")
    both = [start_bench(*line, cwd=workplace) for _ in range(2)]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    quantized = {id for id, record in records(outputs).items() if record["method"] != "float"}
    assert measured(outputs) == Counter(dict.fromkeys(quantized, 1)), "each by one of them"
    check(outputs)


@pytest.mark.slow
def test_one_of_two_sweeps_is_killed(outputs: Path, workplace: Path) -> None:
    """What it was measuring is measured by the other one."""
    line = (*LINE, f"paths.outputs={outputs}")
    victim, survivor = (start_bench(*line, cwd=workplace) for _ in range(2))
    wait_until(lambda: len(finished(outputs)) >= 3, "three cells are done")
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    out, err = survivor.communicate(timeout=300)
    assert survivor.returncode == 0, (out, err)
    assert max(measured(outputs).values()) == 1
    check(outputs)


def test_a_kill_between_any_two_steps_of_storing(outputs: Path) -> None:
    """Deterministic: a process that dies at each system call that changes what is stored."""
    script = """
import os, sys
from pathlib import Path
from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
import bench.cells.store

step, last = 0, int(sys.argv[2])

def dying(name, real):
    def call(*args, **kwargs):
        global step
        step += 1
        if step > last:
            os._exit(9)
        return real(*args, **kwargs)
    return call

store = Store(Path(sys.argv[1]))
known = dict(id="a" * 16, request_id="b" * 16, status="done", model="m", weights="w", method="g",
             data="d", w_bits=4, a_bits=8, seed=0, group="x", weights_sha256=None, recipe={},
             started_at=sys.argv[3])
for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "write_text")):
    setattr(owner, name, dying(name, getattr(owner, name)))
bench.cells.store.shutil.rmtree = dying("rmtree", bench.cells.store.shutil.rmtree)
with store.lock("a" * 16, wait=True), store.writing("a" * 16) as folder:
    write_result(folder, Result(**known))
"""
    line = ["-c", script, str(outputs)]
    assert Process([*line, "99", "first"]).wait() == 0
    store, seen = Store(outputs), []
    for last in range(99):
        status = Process([*line, str(last), "second"]).wait()
        store.clean()
        result = store.read("a" * 16)
        assert result is not None, last
        seen.append(result.started_at)
        assert list((outputs / "pending").iterdir()) == []
        if status == 0:
            break
    assert set(seen) == {"first", "second"}
    assert seen == sorted(seen), "the old one until the new one is whole"
    assert len(seen) > 4
