"""What the tests of the harness share: configs, records, and `bench` as its users call it."""

import copy
import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra

import bench.data.mnist5k
import bench.plots.mixed
import bench.plots.training
from bench.cells.result import Result
from bench.cli import main
from bench.config.compose import compose
from bench.config.schema import Config, read_config
from bench.sweep.journal import Journal
from tests.bench.offline import read_run
from tests.processes import Process

# 10 images, 4 of the cheapest method: a fraction of a second a cell.
FAST = ("data.limit=10", "method=gaussian", "method.images=4", "tracking=none")


class Finished(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on, or touches, the W&B account of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """No test leaves the log on the terminal of the next one."""
    logger = logging.getLogger("bench")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(scope="session")
def _digits_read_once() -> Iterator[None]:
    """Parse the packaged digits once, not for every cell."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(bench.data.mnist5k.read_digits)
        patch.setattr(bench.data.mnist5k, "read_digits", once)
        yield


@pytest.fixture(scope="session")
def _mode_asked_where_it_is_said() -> Iterator[None]:
    """Hydra composes all of a config once more only to learn its mode, of which few lines speak."""
    original = Hydra.get_mode

    def get_mode(self: Hydra, config_name: str, overrides: list[str]) -> Any:
        said = any(
            override.lstrip("+~").startswith(("experiment", "hydra")) for override in overrides
        )
        return original(self, config_name, overrides) if said else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", get_mode)
        yield


@pytest.fixture(scope="session")
def _default() -> dict[str, Any]:
    return compose([])


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def make_config(
    _default: dict[str, Any], _digits_read_once: None, outputs: Path
) -> Callable[..., Config]:
    """Make the default config without W&B, changed at dotted keys: make({"quant.w_bits": 4})."""

    def make(changes: dict[str, Any] | None = None) -> Config:
        plain = copy.deepcopy(_default)
        given = {"paths.outputs": str(outputs), "tracking.mode": "none", "runtime.device": "cpu"}
        for key, value in (given | (changes or {})).items():
            *parents, last = key.split(".")
            functools.reduce(dict.__getitem__, parents, plain)[last] = value
        return read_config(plain)

    return make


@pytest.fixture
def make_fast(make_config: Callable[..., Config]) -> Callable[..., Config]:
    """As make_config, for a cell that takes a fraction of a second."""
    fast = {"data.limit": 10, "method": {"name": "gaussian", "images": 4}}
    return lambda changes=None: make_config(fast | (changes or {}))


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """Make a plausible record of a done cell, with the given keys changed."""

    def make(id: str = "0123456789abcdef", **changes: Any) -> Result:
        known: dict[str, Any] = {
            "id": id,
            "request_id": "fedcba9876543210",
            "status": "done",
            "model": "resnet20",
            "weights": "mnist5k",
            "method": "gaussian",
            "data": "mnist5k",
            "w_bits": 4,
            "a_bits": 8,
            "seed": 1,
            "group": "adhoc",
            "top1": 90.0,
            "top5": 100.0,
            "correct": 9,
            "correct_top5": 10,
            "total": 10,
            "classes": 10,
            "ci_low": 59.58,
            "ci_high": 98.21,
            "fp32_top1": 100.0,
            "fp32_id": "f" * 16,
            "weights_sha256": "0" * 64,
            "recipe": {},
            "seconds": {"total": 1.5},
            "runtime": {"device_name": "a processor"},
            "versions": {"torch": "2"},
            "started_at": "2025-01-02T03:04:05+00:00",
        }
        return Result.model_validate(known | changes)

    return make


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out pictures of bits and of trainings: each takes as long as a small cell."""
    for module in (bench.plots.mixed, bench.plots.training):
        monkeypatch.setattr(module, "draw", lambda *_, **__: None)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, to see that nothing is written there."""
    folder = tmp_path / "workplace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def bench_main(
    workplace: Path,
    _digits_read_once: None,
    _mode_asked_where_it_is_said: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Finished]]:
    """Call the command line in this process; what it changes in the process is put back."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*args: str | Path) -> Finished:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        GlobalHydra.instance().clear()
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as exit:  # argparse, on a line that it cannot parse
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        return Finished(status, captured.out, captured.err)

    yield call
    Journal.forget()
    os.environ.pop("HYDRA_FULL_ERROR", None)
    GlobalHydra.instance().clear()


def start_bench(*args: str | Path, cwd: Path, **env: str) -> Process:
    """Start `python -m bench` in a process group of its own."""
    return Process(["-m", "bench", *map(str, args)], cwd, os.environ | env)


@pytest.fixture
def bench_process(workplace: Path) -> Callable[..., Finished]:
    """Run `python -m bench` as its users do; seconds, so used where the process matters."""

    def call(*args: str | Path, **env: str) -> Finished:
        process = start_bench(*args, cwd=workplace, **env)
        out, err = process.communicate()
        return Finished(process.returncode, out, err)

    return call


def records(outputs: Path) -> dict[str, dict[str, Any]]:
    """Return the content of every result file under `outputs` by the name of its folder."""
    files = sorted((outputs / "cells").glob("*/result.json"))
    return {file.parent.name: json.loads(file.read_bytes()) for file in files}


def wandb_runs(outputs: Path) -> list[dict[str, Any]]:
    """Read every offline run under `outputs` back with W&B's own reader."""
    runs = sorted((outputs / "wandb").glob("*run-*"))
    return [json.loads(read_run(run, "--summary", "--json")) for run in runs]


def assert_runs_agree(outputs: Path) -> None:
    """Every record has exactly one finished run, whose summary holds the record's numbers."""
    by_id = records(outputs)
    runs = wandb_runs(outputs)
    assert sorted(run["summary"]["cell_id"] for run in runs) == sorted(by_id)
    for run in runs:
        assert run["state"] == "finished"
        record = by_id[run["summary"]["cell_id"]]
        shared = run["summary"].keys() & record.keys()
        assert {"top1", "correct", "total", "ci_low", "fp32_top1", "status", "seed"} <= shared
        for key in shared:
            assert run["summary"][key] == record[key], key
        for phase, value in record["seconds"].items():
            assert run["summary"][f"seconds/{phase}"] == value


def assert_nothing_partial(outputs: Path) -> None:
    """No file or folder of an unfinished write is left anywhere."""
    assert list((outputs / "pending").iterdir()) == []
    left = [str(p) for p in outputs.rglob("*") if "partial" in p.name or p.name.startswith(".")]
    assert left == []
