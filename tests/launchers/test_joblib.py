"""Sweeps in several processes of this machine."""

import os
import signal
from pathlib import Path

import pytest

from tests.bench.conftest import FAST, records
from tests.bench.test_shadowing import NETWORK, Place
from tests.launchers.sweeps import Sweep, entries
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_two_workers_share_a_sweep(tmp_path: Path) -> None:
    """Beside files that are called as parts of this project, and with a user's own network."""
    place = Place(tmp_path, "bench", "methods", "models")
    (tmp_path / "my_networks.py").write_text(NETWORK)
    network = ("model.name=my_networks:net", "model.weights=none")
    line = (*JOBLIB, *FAST, *network, "quant.w_bits=8,17,4")
    status, out, err = place.run("run", "-m", *line)
    assert (status, err) == (1, ""), out
    outputs, lines = tmp_path / "outputs", out.splitlines()
    assert lines[-1] == "3 cells: 2 done, 1 refused"
    assert sum("error: quant.w_bits=17 is impossible" in line for line in lines) == 1
    numbered = [line.partition("/")[0] for line in lines if line.startswith("[")]
    assert numbered == ["[1", "[2", "[3"]
    assert sorted(entry["status"] for entry in entries(outputs)) == ["done", "done", "refused"]
    found = records(outputs)
    assert sorted(record["w_bits"] for record in found.values()) == [4, 8, 32]
    assert {record["status"] for record in found.values()} == {"done"}


METHOD = """\
import os, signal, threading, time
from dataclasses import dataclass
from pathlib import Path
import torch
from methods.base import Calibration, Method

@dataclass(frozen=True)
class Threads(Method):
    name = "threads"

    def calibrate(self, network, context):
        Path(f"threads-{self.images}").write_text(str(torch.get_num_threads()))
        if self.images == 2:
            Path("measuring").write_text(str(os.getpid()))
            time.sleep(600)
        return Calibration(torch.zeros(self.images, *context.input_shape))
"""


def test_a_worker_dies(tmp_path: Path) -> None:
    (tmp_path / "own_threads.py").write_text(METHOD)
    outputs = tmp_path / "outputs"
    line = ("method=own_threads:Threads", "data.limit=50", "tracking=none")
    images = ("method.images=1,2,3",)
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with Sweep(outputs, tmp_path, free, *JOBLIB, *line, *images) as sweep:
        sweep.wait_until((tmp_path / "measuring").exists, "the second cell is measured")
        sweep.wait_until(lambda: len(sweep.entries()) == 2, "the others are done")
        os.kill(int((tmp_path / "measuring").read_text()), signal.SIGKILL)
        status, out = sweep.end(200)
    assert status == 1
    (said,) = (line for line in out.splitlines() if line.startswith("error: "))
    assert said.startswith("error: the joblib launcher stopped: TerminatedWorkerError: A worker ")
    assert said.endswith("; finished cells are kept, run the same line again for the others")
    assert "2 cells: 2 done" in out.splitlines()
    assert "Traceback" not in out
    done = [r["recipe"]["calibration"]["images"] for r in records(outputs).values() if
            r["method"] == "threads"]  # fmt: skip
    assert sorted(done) == [1, 3]
    # The cores are divided.
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {int(path.read_text()) for path in tmp_path.glob("threads-*")} == {share}


def test_the_command_dies(tmp_path: Path) -> None:
    """Its workers end with it, in the middle of what they do."""
    (tmp_path / "own_threads.py").write_text(METHOD)
    line = ("method=own_threads:Threads", "data.limit=50", "tracking=none", "method.images=2")
    line = (*JOBLIB, *line, "seed=0,1")
    with Sweep(tmp_path / "outputs", tmp_path, os.environ, *line) as sweep:
        sweep.wait_until((tmp_path / "measuring").exists, "a cell is measured")
        os.kill(sweep.process.pid, signal.SIGKILL)
        worker = Path(f"/proc/{(tmp_path / 'measuring').read_text()}")
        wait_until(lambda: not worker.exists(), "the worker has ended")
