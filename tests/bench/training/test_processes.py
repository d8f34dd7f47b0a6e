"""Two processes that share each batch compute what one does; so do two machines."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.config.compose import compose
from bench.config.schema import read_config
from bench.training import run as training_run
from bench.training.processes import Place, launch
from models.errors import BenchError
from tests.bench.cells_of import run_cell
from tests.bench.conftest import start_bench
from tests.waiting import wait_until


def trained(outputs: Path, processes: int, *overrides: str) -> tuple[Any, dict[str, Tensor]]:
    """Train with so many processes; return the history and the state."""
    given = [
        *("tracking=none", "data.subset=30", "data.limit=20", "method.images=8"),
        *("method.schedule.epochs=2", "runtime.threads=1", f"paths.outputs={outputs}"),
    ]
    config = read_config(compose([*given, f"runtime.processes={processes}", *overrides]))
    result = run_cell(config).result
    assert result is not None and result.status == "done", result
    (folder,) = (outputs / "cache" / "training").iterdir()
    state = load_file(folder / "trained.safetensors")
    return json.loads((folder / "history.json").read_bytes()), state


_train_together = training_run._train_together


def train_and_note_rank(fabric: Any, *given: Any) -> None:
    (Path(os.environ["RANKS"]) / str(fabric.global_rank)).write_text(str(fabric.world_size))
    _train_together(fabric, *given)


# A rate that moves the weights little: differences in rounding grow with each step.
FLOAT = ("method=dq", "quant=w8a8", "method.schedule.batch_size=10", "method.schedule.lr=0.001")
# A value that is rounded to the other grid point is no small difference, and causes more of them in
# the layers behind: 4e-4 of the loss at 4 bits. One step an epoch shows the rest.
COQUANT = (
    *("method=coquant", "method.bits=[8,4]", "quant=w4a4"),
    *("data.subset=60", "method.schedule.batch_size=60", "method.schedule.lr=1e-9"),
)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("overrides", "norm", "tolerance"),
    [
        (FLOAT, "features.init_block.bn.of_bits.32", 1e-5),
        (COQUANT, "features.init_block.bn.of_bits.4", 1e-3),
    ],
    ids=["float", "coquant"],
)
def test_two_processes_have_the_loss_of_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    norm: str,
    tolerance: float,
) -> None:
    """In a job of Slurm too, whose one task they are not."""
    job = {"JOB_ID": "7", "JOB_NAME": "bench", "NTASKS": "1", "NTASKS_PER_NODE": "1"}
    place = {"PROCID": "0", "LOCALID": "0", "NODEID": "0", "NODELIST": "localhost"}
    for name, value in (job | place).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    (tmp_path / "ranks").mkdir()
    monkeypatch.setenv("RANKS", str(tmp_path / "ranks"))
    monkeypatch.setattr(training_run, "_train_together", train_and_note_rank)
    one, of_one = trained(tmp_path / "1", 1, *overrides)
    two, of_two = trained(tmp_path / "2", 2, *overrides)
    ranks = {path.name: path.read_text() for path in (tmp_path / "ranks").iterdir()}
    assert ranks == {"0": "2", "1": "2"}
    losses = [[record.pop("loss") for record in history] for history in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=tolerance)
    assert two == one  # the teachers too
    for what in ("running_mean", "running_var", "weight"):
        name = f"{norm}.{what}"
        assert torch.allclose(of_one[name], of_two[name], rtol=1e-3, atol=1e-4), name


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BenchError, match="processes=2, but 1 GPUs are there; lower it"):
        launch(2, torch.device("cuda"), print)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, str]]]:
    """Each Fabric that would have started processes, and the environment it would have given."""
    from lightning_fabric import Fabric

    seen: list[tuple[Any, dict[str, str]]] = []
    monkeypatch.setattr(Fabric, "launch", lambda self, work: seen.append((self, dict(os.environ))))
    return seen


def test_what_processes_find_in_their_environment(
    started: list[tuple[Any, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_fabric.plugins.environments import LightningEnvironment

    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_LOCALID", "SLURM_PROCID", "NODE_RANK"):
        monkeypatch.setenv(name, "1")  # a task of a Slurm job, in an image that sets more
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    before = dict(os.environ)
    cpu = torch.device("cpu")
    launch(2, cpu, print)
    launch(2, cpu, print, place=Place(2, 4, "node0", 29401))
    assert dict(os.environ) == before
    (one, alone), (other, third) = started
    assert [alone[name] for name in ("NODE_RANK", "MASTER_ADDR")] == ["0", "127.0.0.1"]
    assert "MASTER_PORT" not in alone
    names = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    assert [third[name] for name in names] == ["2", "node0", "29401", "3"]
    for fabric, nodes in ((one, 1), (other, 4)):
        assert isinstance(fabric._strategy.cluster_environment, LightningEnvironment)
        assert (fabric._strategy.num_nodes, fabric._strategy.num_processes) == (nodes, 2)
    assert (one.world_size, other.world_size, other.global_rank) == (2, 8, 4)


def test_a_process_that_fails_says_why_in_one_line_and_where_without_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lightning_fabric import Fabric
    from torch.multiprocessing.spawn import ProcessRaisedException

    def fails(last: str) -> Callable[..., None]:
        text = f"\n\n-- Process 0 terminated with the following error:\nTraceback: x\n{last}\n"

        def fail(self: Any, work: Any) -> None:
            raise ProcessRaisedException(text, 0, 1)

        return fail

    said = {
        "models.errors.BenchError: training diverged: step 3": "training diverged: step 3",
        "RuntimeError: [pair.cc:534] closed by [10.0.0.2]:1234": (
            "RuntimeError: [pair.cc:534] closed by a peer"
        ),
        "RuntimeError: closed by 10.0.0.2:1234 and [fe80::1]:5": (
            "RuntimeError: closed by a peer and a peer"
        ),
    }
    for last, reason in said.items():
        monkeypatch.setattr(Fabric, "launch", fails(last))
        with pytest.raises(BenchError) as caught:
            launch(1, torch.device("cpu"), print)
        assert str(caught.value) == reason
        assert "Traceback: x" in str(caught.value.__cause__)
        assert "10.0.0.2" not in str(caught.value.__cause__)


TWO_MACHINES = (
    *("-m", "tracking=none", "data.subset=30", "data.limit=20", "method.images=8", *FLOAT),
    *("runtime.threads=1", "runtime.processes=2", "runtime.machines=2"),
)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.slow
def test_two_machines_have_the_loss_of_one(tmp_path: Path) -> None:
    at, outputs = free_address(), tmp_path / "2"
    other = start_bench("join", at, "--machine", "1", cwd=tmp_path)
    given = [*TWO_MACHINES, "method.schedule.epochs=2", f"paths.outputs={outputs}"]
    first = start_bench("run", *given, "seed=0,1", f"runtime.address={at}", cwd=tmp_path)
    said, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
    assert "2 cells: 2 done" in said
    heard, errors = other.communicate(timeout=60)
    assert other.returncode == 0, errors
    assert heard.splitlines()[-1] == "the first machine has finished its command; trainings here: 2"
    history, of_one = trained(tmp_path / "1", 1, *FLOAT)
    (name,) = (folder.name for folder in (tmp_path / "1" / "cache" / "training").iterdir())
    folder = outputs / "cache" / "training" / name  # the same training by name
    losses = [r["loss"] for r in json.loads((folder / "history.json").read_bytes())]
    assert losses == pytest.approx([record["loss"] for record in history], abs=1e-5)
    for key, value in load_file(folder / "trained.safetensors").items():
        assert torch.allclose(value, of_one[key], rtol=1e-3, atol=1e-4), key
    # Another cell of the same training finds it, and needs no other machine.
    kept = (folder / "trained.safetensors").stat().st_mtime_ns
    at = free_address()
    given = [word for word in given if not word.startswith("quant=")]
    again = start_bench(
        *("run", *given, "seed=0", "quant=w4a4", f"runtime.address={at}"), cwd=tmp_path
    )
    said, errors = again.communicate(timeout=100)
    assert again.returncode == 0 and "waiting for machine" not in said, errors
    assert (folder / "trained.safetensors").stat().st_mtime_ns == kept
    for record in (outputs / "cells").glob("*/*"):
        assert b"127.0.0.1" not in record.read_bytes(), record


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["first", "other"])
def test_a_machine_that_dies_in_a_training_leaves_no_other_hanging(
    tmp_path: Path, dies: str
) -> None:
    at = free_address()
    other = start_bench("join", at, "--machine", "1", cwd=tmp_path)
    given = [*TWO_MACHINES, "method.schedule.epochs=100000", f"paths.outputs={tmp_path / 'o'}"]
    first = start_bench("run", *given, f"runtime.address={at}", cwd=tmp_path)
    made = tmp_path / "o" / "cache" / "training"
    wait_until(lambda: list(made.glob("*/checkpoint.pt")), "the training is under way")
    for pid in [*children(first.pid)] if dies == "first" else [*children(other.pid)]:
        os.kill(pid, signal.SIGKILL)
    (first if dies == "first" else other).kill()
    if dies == "first":
        _, errors = other.communicate(timeout=60)
        assert other.returncode == 1
        last = errors.splitlines()[-1]
        assert last == "error: the first machine has ended, or cannot be reached any more"
        first.communicate()
        return
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 1
    assert "failed: RuntimeError: " in said and "127.0.0.1]" not in said
    other.communicate()


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]
