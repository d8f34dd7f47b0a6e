"""Sweeps on a real Slurm cluster, started for these tests: `make test-slurm`."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.bench.conftest import FAST, records
from tests.launchers import slurm
from tests.launchers.sweeps import Sweep, assert_each_cell_once
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1")


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    if wanted := slurm.missing():
        pytest.fail(
            f"this machine has no {', '.join(wanted)}; Debian: apt-get install --no-install-"
            "recommends slurmctld slurmd slurm-client munge",
            pytrace=False,
        )
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a short path, for munge's socket
    try:
        with slurm.cluster(folder / "c") as env:
            yield env
        assert slurm.processes_of(folder / "c") == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(env: dict[str, str]) -> list[str]:
    """Return the numbers of the jobs that run; each one of an array has its own."""
    return slurm.call(env, "squeue", "-h", "-t", "R", "-o", "%A").split()


def worker(env: dict[str, str], job: str) -> int | None:
    """Return the process of a job that measures, once it is there: not its shell, nor srun."""
    listed = slurm.call(env, "scontrol", "listpids", job).splitlines()[1:]
    for line in listed:
        path = Path("/proc") / line.split()[0] / "cmdline"
        words = path.read_bytes().split(b"\0") if path.exists() else [b""]
        if words[0] == sys.executable.encode():
            return int(path.parent.name)
    return None


def test_the_demo_with_jobs_that_are_taken_away(env: dict[str, str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    line = (*SLURM, "experiment=demo", "seed=0", "data.limit=200", "tracking=wandb_offline")
    with Sweep(outputs, tmp_path, env, *line) as sweep:
        # The first three are quick; then two synthesise images, or wait for those of the other.
        wait_until(lambda: len(sweep.entries()) >= 3, "three cells are done")
        both = lambda: len([job for job in running(env) if worker(env, job)]) == 2  # noqa: E731
        wait_until(both, "two jobs run")
        time.sleep(5)
        taken, killed = running(env)
        slurm.call(env, "scontrol", "requeue", taken)
        pid = worker(env, killed)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert len(sweep.entries()) == 3
        status, out = sweep.end(400)
    assert status == 0, out
    assert out.splitlines()[-1] == "9 cells: 9 done"
    assert len(sweep.entries()) == len({entry["id"] for entry in sweep.entries()}) == 9
    assert_each_cell_once(outputs, 9)
    for job in (taken, killed):
        assert "Restarts=1" in slurm.call(env, "scontrol", "show", "job", job), job


def test_a_training_goes_on_from_the_step_at_which_it_was_taken_away(
    env: dict[str, str], tmp_path: Path
) -> None:
    line = (
        *("method=coquant", "method.bits=[4,2]", "quant=w2a2", "tracking=none"),
        *("data.limit=40", "method.images=8", "runtime.threads=1"),
        *("method.schedule.epochs=1", "method.schedule.batch_size=20", "data.subset=300"),
    )
    with Sweep(tmp_path / "whole", tmp_path, env, *line) as whole:
        status, out = whole.end(300)
    assert status == 0, out

    outputs = tmp_path / "outputs"
    with Sweep(outputs, tmp_path, env, *SLURM, *line) as sweep:
        found = lambda: list(outputs.glob("cache/training/*/checkpoint.pt"))  # noqa: E731
        wait_until(found, "the training has begun")
        (job,) = running(env)
        slurm.call(env, "scancel", "--signal=USR2", job)
        restarted = lambda: "Restarts=1" in slurm.call(env, "scontrol", "show", "job", job)  # noqa: E731
        wait_until(restarted, "the job is queued again")
        (checkpoint,) = found()
        part = torch.load(checkpoint, weights_only=True)["part"]
        assert 0 < part["done"] < 15
        status, out = sweep.end(300)
    assert status == 0, out
    (one,) = (tmp_path / "whole").glob("cache/training/*")
    (other,) = outputs.glob("cache/training/*")
    assert (one / "history.json").read_bytes() == (other / "history.json").read_bytes()
    unbroken, taken = (load_file(folder / "trained.safetensors") for folder in (one, other))
    assert all(torch.equal(unbroken[name], taken[name]) for name in unbroken)


def test_a_cell_that_is_refused_fails_the_sweep(env: dict[str, str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with Sweep(outputs, tmp_path, env, *SLURM, *FAST, "quant.w_bits=8,17") as sweep:
        status, out = sweep.end(200)
    assert status == 1, out
    assert out.splitlines()[-1] == "2 cells: 1 done, 1 refused"
    assert sorted(record["w_bits"] for record in records(outputs).values()) == [8, 32]
