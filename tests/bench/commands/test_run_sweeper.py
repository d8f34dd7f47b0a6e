"""What the sweeper notes as known, and what it hands to the launcher."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_launcher import BasicLauncherConf
from hydra.core.plugins import Plugins

import bench.sweep.session
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from tests.bench.conftest import FAST, Finished, records
from tests.spy import calls_of

Bench = Callable[..., Finished]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """The number of the first job of each batch, and the last word but one of each of its jobs."""
    found: list[tuple[int, list[str]]] = []
    # Hydra imports the modules of its plugins once more, so this class is not the one to import.
    launcher = Plugins.instance().class_name_to_class[BasicLauncherConf._target_]
    launch = launcher.launch  # type: ignore[attr-defined]

    def watched(self: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        found.append((initial_job_idx, [job[-2] for job in job_overrides]))
        return launch(self, job_overrides, initial_job_idx)

    monkeypatch.setattr(launcher, "launch", watched)
    return found


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The jobs that Hydra composes."""
    return calls_of(monkeypatch, ConfigLoaderImpl, "load_sweep_config")


@pytest.mark.thorough
def test_the_launcher_gets_what_is_not_finished(
    bench_main: Bench,
    outputs: Path,
    launched: list[tuple[int, list[str]]],
    composed: list[tuple[Any, ...]],
) -> None:
    line = ("run", "-m", *FAST, "seed=0,1,2", f"paths.outputs={outputs}")
    bench_main(*line[:-2], "seed=0,2", line[-1])
    assert launched == [(0, ["seed=0", "seed=2"])]
    assert len(composed) == 2  # once a job, by the launcher
    done = bench_main(*line)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    by_seed = {r["seed"]: id for id, r in records(outputs).items() if r["method"] == "gaussian"}
    assert lines[0].startswith("[1/3] resnet20 mnist5k gaussian W8A8 seed 0: ")
    assert lines[0].endswith(f", known  {by_seed[0]}")
    assert lines[1].startswith("[2/3] resnet20 mnist5k gaussian W8A8 seed 2: ")
    assert lines[1].endswith(f", known  {by_seed[2]}")
    assert lines[2].startswith("[3/3] resnet20 mnist5k gaussian W8A8 seed 1: ")
    assert lines[2].endswith(f" s  {by_seed[1]}")
    assert lines[-1] == "3 cells: 1 done, 2 found"
    assert launched[1:] == [(0, ["seed=1"])]
    assert len(composed) == 3

    again = bench_main(*line)
    assert again.out.splitlines()[-1] == "3 cells: 3 found"
    assert (len(launched), len(composed)) == (2, 3)  # nothing is left: no launcher, no Hydra
    forced = bench_main(*line, "force=true", "hydra.sweeper.max_batch_size=2")
    assert forced.out.splitlines()[-1] == "3 cells: 3 done"
    assert [(first, len(jobs)) for first, jobs in launched[2:]] == [(0, 2), (2, 1)]


def test_what_is_impossible_is_refused_by_its_job(
    bench_main: Bench, outputs: Path, launched: list[tuple[int, list[str]]]
) -> None:
    done = bench_main("run", "-m", *FAST, "quant.w_bits=17,1", f"paths.outputs={outputs}")
    assert done.status == 1
    assert done.out.splitlines()[-1] == "2 cells: 2 refused"
    assert launched == [(0, ["quant.w_bits=17", "quant.w_bits=1"])]


def test_what_does_not_compose_stops_the_sweep_before_any_job(
    bench_main: Bench, outputs: Path, launched: list[tuple[int, list[str]]]
) -> None:
    place = f"paths.outputs={outputs}"
    bench_main("run", *FAST, "method=real", place)
    done = bench_main("run", "-m", *FAST, "method=real,gausian", place)
    assert done == (2, "", "error: unknown method 'gausian'; did you mean 'gaussian'?\n")
    assert launched == []


@pytest.mark.thorough
def test_what_only_hydra_composes_goes_to_the_launcher(
    bench_main: Bench, outputs: Path, launched: list[tuple[int, list[str]]]
) -> None:
    line = ("run", "-m", *FAST, "tracking.tags=[a]", f"paths.outputs={outputs}")
    assert bench_main(*line).out.splitlines()[-1].startswith("[1/1] ")
    found = bench_main(*line).out
    assert ", known  " in found
    assert launched == [(0, ["tracking.tags=[a]"])] * 2


@pytest.mark.thorough
def test_hydras_own_sweeper_where_it_is_asked_for(
    bench_main: Bench, outputs: Path, tmp_path: Path, launched: list[tuple[int, list[str]]]
) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "basic.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: basic\n"
    )
    line = (*FAST, "seed=0,1", f"paths.outputs={outputs}")
    bench_main("run", "-m", *line)
    for choice in (("hydra/sweeper=basic",), ("--config-dir", folder.parent, "experiment=basic")):
        done = bench_main("run", "-m", *choice, *line)
        assert done.out.splitlines()[-1] == "2 cells: 2 found"
    assert [jobs for _, jobs in launched[1:]] == [["seed=0", "seed=1"]] * 2


@pytest.mark.thorough
def test_a_folder_of_the_users_own_is_composed_here(
    bench_main: Bench, outputs: Path, tmp_path: Path, composed: list[tuple[Any, ...]]
) -> None:
    (tmp_path / "own" / "method").mkdir(parents=True)
    (tmp_path / "own" / "method" / "few.yaml").write_text("name: gaussian\nimages: 3\n")
    given = ("tracking=none", "data.limit=50", "method=few", "seed=0,1", f"paths.outputs={outputs}")
    line = ("run", "-m", "--config-dir", tmp_path / "own", *given)
    assert bench_main(*line).out.splitlines()[-1] == "2 cells: 2 done"
    assert bench_main(*line).out.splitlines()[-1] == "2 cells: 2 found"
    assert len(composed) == 2


def test_found_cells_are_tracked(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked: list[tuple[str, str]] = []

    def track(result: Result, config: Config, mode: str, words: object = ()) -> None:
        if mode != "none":
            tracked.append((result.method, mode))

    monkeypatch.setattr(bench.sweep.session, "track", track)
    line = ("run", "-m", *FAST, "seed=0,1", f"paths.outputs={outputs}")
    bench_main(*line)
    assert tracked == []
    bench_main(*line, "tracking=wandb_offline")
    assert tracked == [("gaussian", "offline"), ("float", "offline")] * 2


def test_what_killed_processes_left_is_removed(bench_main: Bench, outputs: Path) -> None:
    line = ("run", "-m", *FAST, "seed=0,1", f"paths.outputs={outputs}")
    bench_main(*line)
    stale = outputs / "pending" / "0000000000000000.new"
    stale.mkdir(parents=True)
    bench_main(*line)
    assert not stale.exists()


@pytest.mark.thorough
def test_shards(bench_main: Bench, outputs: Path) -> None:
    line = ("run", "-m", *FAST, "quant.w_bits=8,4", "seed=0,1", f"paths.outputs={outputs}")
    first = bench_main(*line, "shard=1/2")
    assert first.out.splitlines()[-1] == "2 cells: 2 done"
    assert "[2/2]" in first.out
    one_seed = {(r["seed"], r["w_bits"]) for r in records(outputs).values() if r["w_bits"] != 32}
    assert len({seed for seed, _ in one_seed}) == 1  # the bits of one seed share its images
    second = bench_main(*line, "shard=2/2")
    assert second.out.splitlines()[-1] == "2 cells: 2 done"
    assert bench_main(*line).out.splitlines()[-1] == "4 cells: 4 found"
    assert len(Store(outputs).results()) == 5


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("-m", "seed=0,1", "shard=5/4"), 2, "shard=5/4 is no part of a sweep; "),
        (("-m", "seed=0,1", "shard=x"), 2, "shard=x is no part of a sweep; "),
        (("shard=1/4",), 1, "shard=1/4 divides a sweep, not one cell; "),
    ],
)
def test_a_shard_that_makes_no_sense(
    bench_main: Bench, outputs: Path, words: tuple[str, ...], status: int, message: str
) -> None:
    done = bench_main("run", *words, *FAST, f"paths.outputs={outputs}")
    assert done.status == status
    assert (done.out + done.err).startswith(f"error: {message}")
    assert (done.out + done.err).count("\n") == 1
