"""`bench run --dry-run`: the counts, and that nothing is measured or written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

import bench.measure.run
import bench.sweep.session
from bench.cells.result_file import write_result
from bench.cells.store import Store
from tests.bench.conftest import FAST, Finished

Bench = Callable[..., Finished]


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a dry run measured or tracked a cell")

    monkeypatch.setattr(bench.measure.run, "measure", refused)
    monkeypatch.setattr(bench.sweep.session, "track", refused)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_where_nothing_is_known(bench_main: Bench, outputs: Path, no_measuring: None) -> None:
    done = bench_main("run", "--dry-run", *FAST, f"paths.outputs={outputs}")
    assert done == (
        0,
        "1 cell: 0 done, 1 to measure\n"
        "besides, 1 float cell that they are compared with\n"
        "time, one cell after the other: unknown\n"
        "memory of a process: unknown\n"
        "  resnet20 mnist5k float: 1 cell, unknown; no earlier cell of this kind\n"
        "  resnet20 mnist5k gaussian: 1 cell, unknown; no earlier cell of this kind\n",
        "",
    )
    assert not outputs.exists()


def retimed(outputs: Path, method: str, **changes: Any) -> None:
    """Give the measured cells of a method other seconds, memory and device."""
    store = Store(outputs)
    for result in store.results():
        if result.method == method:
            write_result(store.folder(result.id), result.model_copy(update=changes))


@pytest.mark.thorough
def test_what_is_done_what_failed_and_what_is_left(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"paths.outputs={outputs}"
    line = ("-m", *FAST, "seed=0,1,2,3", "quant.w_bits=8,4", place)
    bench_main("run", "-m", *FAST, "seed=0", "quant.w_bits=8,4", place)
    with monkeypatch.context() as patch:
        patch.setattr("methods.base.quantize", lambda *_: 1 / 0)
        bench_main("run", *FAST, "seed=1", place)
    phases = {"float": 50.0, "synthesise": 2.0, "evaluate": 17.0, "total": 70.0}
    known = {"seconds": phases, "peak_memory_bytes": 3 * 2**29}
    retimed(outputs, "gaussian", **known, runtime={"device_name": "a processor"})
    before = files(outputs)
    with monkeypatch.context() as patch:
        patch.setattr(bench.measure.run, "measure", lambda *_: 1 / 0)
        done = bench_main("run", *line, "--dry-run")
        part = bench_main("run", "--dry-run", *line, "shard=1/2")
        forced = bench_main("run", "--dry-run", *line, "force=true")
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        "8 cells: 2 done, 6 to measure (1 failed before and is tried again)\n"
        "varying: seed=0,1,2,3 quant.w_bits=8,4\n"
        "time, one cell after the other: about 2 min\n"  # 6 x 20 s: all but the float cell
        "memory of a process: up to 1.5 GiB\n"
        "  resnet20 mnist5k gaussian: 6 cells, 2 min; 2 earlier cells on a processor\n"
    )
    assert part.out.splitlines()[0].startswith("4 cells: ")
    assert forced.out.splitlines()[0] == (
        "8 cells: 0 done, 8 to measure (1 failed before and is tried again)"
    )
    assert files(outputs) == before
    assert bench_main("run", *line).out.splitlines()[-1] == "8 cells: 6 done, 2 found"
    after = bench_main("run", *line, "--dry-run")
    assert after.out == "8 cells: 8 done, 0 to measure\n"


def test_a_synthesis_is_paid_once_and_not_when_it_is_kept(
    bench_main: Bench, outputs: Path, no_measuring: None
) -> None:
    line = ("run", "--dry-run", "-m", "method=zeroq", "quant.w_bits=8,4,3", "seed=0,1")
    place = f"paths.outputs={outputs}"
    before = bench_main(*line, place).out
    assert "zeroq: 6 cells and 2 x synthesise, unknown; " in before
    mixed = bench_main(*line[:-2], "quant=mixed", "quant.mean_bits=3,4", "seed=0,1", place).out
    assert "zeroq: 4 cells and 2 x synthesise and 2 x sensitivity, unknown; " in mixed
    trained = bench_main(*line[:3], "method=joint,individual", "quant.w_bits=8,4", place).out
    assert "joint: 2 cells and 1 x train, unknown; " in trained
    assert "individual: 2 cells and 2 x train, unknown; " in trained
    assert not outputs.exists()


def test_an_experiment_is_a_sweep_without_m(
    bench_main: Bench, outputs: Path, no_measuring: None
) -> None:
    done = bench_main("run", "experiment=demo", "--dry-run", f"paths.outputs={outputs}", "seed=0")
    assert done.out.splitlines()[0] == "9 cells: 0 done, 9 to measure"


def test_a_folder_of_the_users_own(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    grids:\n"
        "      - {method: gaussian, seed: '0,1'}\n      - {method: real, seed: 5}\n"
    )
    given = ("--dry-run", "-m", "--config-dir", tmp_path / "own", "experiment=mine")
    done = bench_main("run", *given, f"paths.outputs={outputs}")
    assert done.out.splitlines()[0] == "3 cells: 0 done, 3 to measure"


def test_impossible_cells_are_named(bench_main: Bench, outputs: Path, no_measuring: None) -> None:
    line = ("run", "--dry-run", "-m", *FAST, "quant.w_bits=8,17", f"paths.outputs={outputs}")
    done = bench_main(*line)
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0] == "2 cells: 0 done, 1 impossible, 1 to measure"
    assert lines[-1].startswith("error: quant.w_bits=17 is impossible; ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method=gausian",), "unknown method 'gausian'; did you mean 'gaussian'?"),
        (("quant.w_bits=8,4",), "quant.w_bits=8,4 lists values for several cells; add -m"),
        (("-m", "shard=3/2"), "shard=3/2 is no part of a sweep; "),
        (("-m", "seed=interval(0,1)"), "seed=interval(0,1): give a list of values, "),
    ],
)
def test_mistakes_are_one_line(
    bench_main: Bench, outputs: Path, words: tuple[str, ...], message: str
) -> None:
    done = bench_main("run", "--dry-run", *words, f"paths.outputs={outputs}")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "hydra/launcher=foo", "seed=0,1"),
        ("-m", "hydra/launcher=joblib", "hydra.launcher.njobs=2", "seed=0,1"),
        ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=few", "seed=0,1"),
        ("hydra/launcher=foo",),
        ("runtime.device=gpu",),
        ("runtime.device=cuda:99",),
        ("runtime.machines=2",),
        ("runtime.machines=2", "runtime.processes=2"),
        ("runtime.machines=2", "runtime.processes=2", "runtime.address=node1"),
    ],
)
def test_what_the_run_refuses_is_refused_with_the_same_line(
    bench_main: Bench, outputs: Path, no_measuring: None, words: tuple[str, ...]
) -> None:
    dry = bench_main("run", "--dry-run", *FAST, *words, f"paths.outputs={outputs}")
    assert not outputs.exists()
    real = bench_main("run", *FAST, *words, f"paths.outputs={outputs}")
    assert dry.status == real.status != 0
    assert dry.err == real.err
    assert real.out.count("\n") + real.err.count("\n") == 1
    assert dry.out.splitlines()[1:] == real.out.splitlines()


def test_a_launcher_that_is_not_installed(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Plugins.instance()
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, "ray.yaml", raising=False)
    line = ("-m", *FAST, "hydra/launcher=ray", "seed=0,1", f"paths.outputs={outputs}")
    said = "error: hydra/launcher=ray is not installed; pip install 'quantization-bench[ray]'\n"
    assert bench_main("run", "--dry-run", *line) == (2, "", said)


@pytest.mark.slurm
def test_own_defaults_of_launchers_may_be_changed(bench_main: Bench, outputs: Path) -> None:
    slurm = ("hydra/launcher=submitit_slurm", "hydra.launcher.additional_parameters.requeue=false")
    line = ("-m", *FAST, *slurm, "seed=0,1", f"paths.outputs={outputs}")
    done = bench_main("run", "--dry-run", *line)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "2 cells: 0 done, 2 to measure"


def test_kinds_of_cells_are_told_apart(bench_main: Bench, outputs: Path) -> None:
    line = ("-m", "method=zeroq", "method.variant=paper,release", "seed=0,1")
    done = bench_main("run", *line, f"paths.outputs={outputs}", "--dry-run")
    assert "varying: method.variant=paper,release seed=0,1" in done.out.splitlines()
    kinds = [text.partition(":")[0] for text in done.out.splitlines() if text.startswith("  ")]
    assert kinds[1:] == [
        "  resnet20 mnist5k zeroq method.variant=paper",
        "  resnet20 mnist5k zeroq method.variant=release",
    ]


def test_presets_of_one_method_are_told_apart(bench_main: Bench, outputs: Path) -> None:
    line = ("-m", "method=zeroq,zeroq_clip", "seed=0,1")
    done = bench_main("run", *line, f"paths.outputs={outputs}", "--dry-run")
    kinds = [text.partition(":")[0] for text in done.out.splitlines() if text.startswith("  ")]
    assert kinds[1:] == ["  resnet20 mnist5k zeroq", "  resnet20 mnist5k zeroq method=zeroq_clip"]


def test_one_mistake_is_said_once(bench_main: Bench, outputs: Path) -> None:
    line = ("-m", "data=imagenet", "quant.w_bits=8,17", "seed=0,1", f"paths.outputs={outputs}")
    done = bench_main("run", "--dry-run", *line)
    assert (done.status, done.err) == (1, "")
    counts, _, first, second = done.out.splitlines()
    assert counts == "4 cells: 0 done, 4 impossible, 0 to measure"
    assert first.startswith("error: data.root is not set for data set 'imagenet'; ")
    label = f"data=imagenet quant.w_bits=8 seed=0 paths.outputs={outputs}"
    assert first.endswith(f" (2 cells, the first: {label})")
    assert second.startswith("error: quant.w_bits=17 is impossible; ")
    assert " (2 cells, the first: " in second


def test_a_shard_of_one_cell(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("run", "--dry-run", *FAST, "shard=1/4", f"paths.outputs={outputs}")
    assert done.status == 1
    assert done.out.splitlines()[-1].startswith("error: shard=1/4 divides a sweep, not one cell; ")
