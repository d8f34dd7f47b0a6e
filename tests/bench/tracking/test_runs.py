import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

import bench.tracking.runs
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.tracking.offline import warn_once
from bench.tracking.result_copy import read_copy, summary
from bench.tracking.runs import NOTE, track
from methods.gaussian import Gaussian
from tests.bench.cells_of import run_cell
from tests.bench.conftest import (
    FAST,
    Finished,
    assert_nothing_partial,
    assert_runs_agree,
    records,
    wandb_runs,
)
from tests.bench.offline import read_run
from tests.spy import lines_of

Make = Callable[..., Config]
SECRET = "0123456789abcdef" * 2 + "deadbeef"


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    warn_once.cache_clear()
    return lines_of(monkeypatch, "bench.tracking.offline", "warning")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with the cell of `measured`, when there is one."""
    return tmp_path_factory.mktemp("measured") / "outputs"


@pytest.fixture
def measured(make_fast: Make, once: Path, outputs: Path) -> tuple[Result, Config]:
    """A measured cell under `outputs`."""
    if not once.exists():
        run_cell(make_fast({"paths.outputs": str(once)}))
    shutil.copytree(once, outputs)
    config = make_fast()
    outcome = run_cell(config)
    assert outcome.kind == "found" and outcome.result is not None
    return outcome.result, config


def runs(outputs: Path) -> list[str]:
    return sorted(path.name for path in (outputs / "wandb").glob("*"))


def test_every_cell_has_the_same_keys(
    make_fast: Make, measured: tuple[Result, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    float_cell = run_cell(make_fast({"quant.w_bits": 32, "quant.a_bits": 32})).result
    real = run_cell(make_fast({"method": {"name": "real", "images": 4}})).result
    failed = run_cell(make_fast({"method": {"name": "real", "images": 9999}})).result
    monkeypatch.setattr(Gaussian, "not_applicable", lambda *_: "no")
    skipped = run_cell(make_fast({"seed": 9})).result
    results = [measured[0], float_cell, real, failed, skipped]
    assert [r and r.status for r in results] == ["done", "done", "done", "failed", "skipped"]
    keys = {tuple(summary(result)) for result in results if result}
    assert len(keys) == 1
    assert {"cell_id", "top1", "fp32_top1", "seconds/total", "seconds/synthesise"} <= {*keys.pop()}


def test_an_offline_run_agrees_with_the_record(
    measured: tuple[Result, Config], outputs: Path
) -> None:
    result, config = measured
    run = track(result, config, "offline")
    assert run is not None
    assert run.parent == outputs / "wandb"
    (found,) = wandb_runs(outputs)
    assert found["state"] == "finished"
    assert found["exit_code"] == 0
    assert found["project"] == "quantization-bench"
    assert found["name"] == "resnet20-mnist5k-gaussian-w8a8-s0"
    assert found["tags"] == ["gaussian", "mnist5k", "resnet20", "w8a8"]
    assert found["config"]["cell_id"] == result.id
    assert (found["config"]["bits"], found["config"]["recipe_name"]) == ("W8A8", "zeroq_release")
    recorded = read_copy(found["config"], found["summary"])
    recorded = recorded.model_copy(update={"checksum": result.checksum})
    assert recorded == Store(outputs).read(result.id)
    wanted = {key: value for key, value in summary(result).items() if value is not None}
    assert wanted.items() <= found["summary"].items()
    # The preview of the calibration images went along.
    assert found["summary"]["calibration/images"]["format"] == "png"
    assert_nothing_partial(outputs)


def test_a_measurement_has_one_run(measured: tuple[Result, Config], outputs: Path) -> None:
    result, config = measured
    assert track(result, config, "offline") is not None
    assert track(result, config, "offline") is None
    assert len(runs(outputs)) == 1
    again = run_cell(config.model_copy(update={"force": True})).result
    assert again is not None
    # Records of one second have the same moment.
    again = again.model_copy(update={"started_at": "2001-01-01T00:00:00+00:00"})
    assert track(again, config, "offline") is not None
    assert len(runs(outputs)) == 2


@pytest.mark.parametrize("note", [None, "{", "[]", "{}"])
def test_a_run_without_its_note_is_not_written_twice(
    measured: tuple[Result, Config], outputs: Path, note: str | None
) -> None:
    """Killed after the run was moved in place and before the note was."""
    result, config = measured
    first = track(result, config, "offline")
    path = outputs / "cells" / result.id / f"{NOTE}.json"
    path.unlink()
    if note is not None:
        path.write_text(note)
    assert track(result, config, "offline") == first
    assert len(runs(outputs)) == 1
    assert json.loads(path.read_text())["started_at"] == result.started_at


def test_a_cell_found_without_its_run_gets_one(
    bench_main: Callable[..., Finished], outputs: Path
) -> None:
    line = ("run", *FAST[:3], f"paths.outputs={outputs}")
    assert bench_main(*line, "tracking=none").status == 0
    assert not (outputs / "wandb").exists()
    again = bench_main(*line, "tracking=wandb_offline")
    assert again.status == 0
    assert ", known  " in again.out
    assert_runs_agree(outputs)
    bench_main(*line, "tracking=wandb_offline")
    assert len(runs(outputs)) == 2


def test_a_failed_cell_has_a_failed_run(make_fast: Make, outputs: Path) -> None:
    config = make_fast({"method": {"name": "real", "images": 9999}})
    result = run_cell(config).result
    assert result is not None
    assert result.status == "failed"
    track(result, config, "offline")
    (found,) = wandb_runs(outputs)
    assert found["exit_code"] == 1
    assert found["summary"]["status"] == "failed"
    assert found["summary"]["reason"] == result.reason
    assert "top1" not in found["summary"]


def test_a_broken_tracker_costs_no_result(
    measured: tuple[Result, Config],
    outputs: Path,
    warnings: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, config = measured

    def broken(**kwargs: Any) -> None:
        raise RuntimeError("no service")

    with monkeypatch.context() as patch:
        patch.setattr(wandb, "init", broken)
        assert track(result, config, "offline") is None
    assert warnings == ["warning: W&B runs are not written: no service; the same line tries again"]
    found = Store(outputs).read(result.id)
    assert found is not None
    assert found.model_dump(mode="json") == result.model_dump(mode="json")
    assert_nothing_partial(outputs)
    assert track(result, config, "offline") is not None


def test_a_folder_that_cannot_be_written_costs_no_result(
    measured: tuple[Result, Config], outputs: Path, warnings: list[str]
) -> None:
    (outputs / "wandb").write_text("in the way")
    assert track(*measured, "offline") is None
    assert len(warnings) == 1
    assert_nothing_partial(outputs)


def test_the_words_of_a_sweep_are_in_the_name_and_the_tags(
    measured: tuple[Result, Config], outputs: Path
) -> None:
    words = ["method=gaussian", "quant.a_range=mse", "quant=w8a8", "seed=0"]
    assert track(*measured, "offline", words) is not None
    (found,) = wandb_runs(outputs)
    assert found["name"] == "resnet20-mnist5k-gaussian-w8a8-s0 quant.a_range=mse"
    assert found["tags"] == ["gaussian", "mnist5k", "quant.a_range=mse", "resnet20", "w8a8"]


def test_each_epoch_of_a_training_is_a_step(measured: tuple[Result, Config], outputs: Path) -> None:
    result, config = measured
    epochs = [
        {"epoch": epoch, "loss": 2.0 - epoch, "teachers": {"2": {"8": 3 - epoch}}, "keep": [0.5]}
        for epoch in range(2)
    ]
    epochs[1]["curves"] = {"size": [3.0, 2.0]}
    course = Store(outputs).folder(result.id) / "training.json"
    course.write_text(json.dumps({"key": "a", "epochs": epochs}))
    run = track(result, config, "offline")
    assert run is not None
    lines = [json.loads(line) for line in read_run(run, "--json").splitlines()]
    logged = [line["history"]["item"] for line in lines if line["type"] == "history"]
    courses = [item for item in logged if "training/epoch" in item]
    points = [(i["training/epoch"], i["training/size"]) for i in courses if "training/size" in i]
    assert points == [(0.5, 3), (1, 2)]
    courses = [item for item in courses if "training/loss" in item]
    assert [item["training/loss"] for item in courses] == [2, 1]
    assert [item["training/teachers/2/8"] for item in courses] == [3, 2]
    assert [item["training/keep/0"] for item in courses] == [0.5, 0.5]


def test_a_part_that_is_refused_costs_only_itself(
    measured: tuple[Result, Config],
    outputs: Path,
    warnings: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, config = measured
    (Store(outputs).folder(result.id) / "training.json").write_text("{")

    def refuse(*_: Any) -> None:
        raise ValueError("Artifact name is longer than 128 characters\nand so on")

    monkeypatch.setattr(bench.tracking.runs, "attach", refuse)
    assert track(result, config, "offline") is not None
    (found,) = wandb_runs(outputs)
    assert found["summary"]["top1"] == result.top1
    assert warnings == [
        "warning: W&B runs are written without their course of the training: Expecting property "
        "name enclosed in double quotes: line 1 column 2 (char 1)",
        "warning: W&B runs are written without their artifacts: Artifact name is longer than 128 "
        "characters",
    ]


def test_none_writes_nothing(measured: tuple[Result, Config], outputs: Path) -> None:
    assert track(*measured, "none") is None
    assert not (outputs / "wandb").exists()


def test_an_account_out_of_reach_costs_no_result_and_no_secret(
    bench_main: Callable[..., Finished],
    outputs: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    line = ("run", "data.limit=50", "quant=fp32", f"paths.outputs={outputs}")
    done = bench_main(*line, "tracking=wandb", "tracking.patience_s=1")
    assert done.status == 0
    assert done.out.splitlines()[-1] == (
        "warning: 1 W&B runs are not uploaded, no result is lost; when the network is back: "
        f"wandb sync {outputs}/wandb/*offline-run*"
    )
    assert {record["status"] for record in records(outputs).values()} == {"done"}
    assert_runs_agree(outputs)
    for file in outputs.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in done.out + done.err
    assert list(workplace.iterdir()) == []
