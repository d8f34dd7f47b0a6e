"""CPU threads and GPUs of one of several processes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.config.schema import RuntimeConfig
from bench.machine import device as machine
from bench.machine import share as devices
from bench.machine.share import GpuClaim


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, None),
        ({"SLURM_CPUS_ON_NODE": "16"}, 8),  # more than this process may use
        ({"SLURM_CPUS_ON_NODE": "6"}, 6),
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"OMP_NUM_THREADS": "2", "SLURM_CPUS_ON_NODE": "8"}, None),  # PyTorch reads that one
        ({"SLURM_CPUS_ON_NODE": "many"}, None),
    ],
)
def test_threads_that_a_scheduler_gives(
    environment: dict[str, str], threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_count", lambda: 8)
    monkeypatch.setattr(devices, "_bound_to", lambda: 8)
    assert devices.cpu_threads(environment) == threads


def test_threads_within_the_quota_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    # joblib reads the quota of the control group; the kernel binds the process to no CPU.
    monkeypatch.setattr(devices, "cpu_count", lambda: 3)
    monkeypatch.setattr(devices, "_bound_to", lambda: 8)
    assert devices.cpu_threads({}) == 3
    assert devices.cpu_threads({"SLURM_CPUS_PER_TASK": "2"}) == 2
    assert devices.cpu_threads({"OMP_NUM_THREADS": "6"}) is None


def test_the_threads_asked_for_win(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    try:
        machine.prepare_device(RuntimeConfig(device="cpu"), GpuClaim())
        assert torch.get_num_threads() == 2
        machine.prepare_device(RuntimeConfig(device="cpu", threads=1), GpuClaim())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["0", "1"]),
        ("2,5", ["2", "5"]),
        ("GPU-aa, MIG-bb/1", ["GPU-aa", "MIG-bb_1"]),
        ("3", ["0", "1"]),  # not what is there: as without
    ],
)
def test_gpus_have_the_same_names_for_all(visible: str | None, names: list[str]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert devices._names(2, environment) == names


HOLD = (
    "import sys, time\nfrom bench.machine.share import GpuClaim\ngpus = GpuClaim()\n"
    "print(gpus.index(2), gpus.index(2), flush=True)\ntime.sleep(60)"
)


def holder(**env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD], env=env, stdout=subprocess.PIPE, text=True
    )


def taken(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.faults
def test_each_process_has_a_gpu_until_it_is_killed(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    started = [holder(**env)]
    try:
        assert taken(started[0]) == "0 0"  # asked twice, it keeps the one it has
        started.append(holder(**env))
        assert taken(started[1]) == "1 1"
        # A process that sees the GPUs the other way round: both are taken, so it waits.
        started.append(holder(**env, CUDA_VISIBLE_DEVICES="1,0"))
        with pytest.raises(subprocess.TimeoutExpired):
            started[2].wait(1.5)
        started[0].send_signal(signal.SIGKILL)
        assert taken(started[2]) == "1 1"  # GPU 0 is its second one
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_auto_takes_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    gpus = GpuClaim()
    assert machine._best_device(RuntimeConfig(), gpus) == "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    assert machine._best_device(RuntimeConfig(), gpus) == "cuda:0"
    assert len(list(tmp_path.glob("*/0"))) == 1
    # Processes that share one training take their GPUs from the first on.
    assert machine._best_device(RuntimeConfig(processes=2), gpus) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine._best_device(RuntimeConfig(), gpus) == "cpu"


def test_a_gpu_is_free_again_when_its_claim_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    first, second = GpuClaim(), GpuClaim()
    assert [first.index(2), second.index(2), first.index(2)] == [0, 1, 0]
    del first
    assert GpuClaim().index(2) == 0
