import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.tracking.result_copy import read_copy
from bench.tracking.runs import NOTE, effective_mode, run_config, summary, track
from methods.gaussian import Gaussian
from tests.bench.cells_of import run_cell
from tests.bench.conftest import (
    Finished,
    assert_nothing_partial,
    assert_runs_agree,
    records,
    wandb_runs,
)
from tests.spy import lines_of

Make = Callable[..., Config]
SECRET = "0123456789abcdef" * 2 + "deadbeef"


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return lines_of(monkeypatch, "bench.tracking.runs", "warning")


@pytest.fixture
def measured(make_fast: Make) -> tuple[Result, Config]:
    config = make_fast()
    result = run_cell(config).result
    assert result is not None
    return result, config


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


def test_the_config_of_a_run_is_the_resolved_one(measured: tuple[Result, Config]) -> None:
    result, config = measured
    found = run_config(result, config)
    assert found["quant"]["a_bits"] == 8
    assert found["method"] == {"name": "gaussian", "images": 8}
    assert found["cell_id"] == result.id
    assert found["recipe"] == result.recipe.as_dict()
    assert found["weights_sha256"] == result.weights_sha256
    assert "paths" not in found
    assert "tracking" not in found
    json.dumps(found)


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
    recorded = read_copy(found["config"]).model_copy(update={"checksum": result.checksum})
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
    line = ("run", "data.limit=100", "method=gaussian", f"paths.outputs={outputs}")
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
    assert warnings == [f"warning: no W&B run for {result.id}: no service"]
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


def test_none_writes_nothing(measured: tuple[Result, Config], outputs: Path) -> None:
    assert track(*measured, "none") is None
    assert not (outputs / "wandb").exists()


@pytest.mark.parametrize(
    ("wanted", "environment", "effective"),
    [
        ("none", {}, "none"),
        ("none", {"WANDB_MODE": "online"}, "none"),
        ("offline", {}, "offline"),
        ("offline", {"WANDB_API_KEY": SECRET}, "offline"),
        ("offline", {"WANDB_MODE": "disabled"}, "none"),
        ("online", {"WANDB_MODE": "offline", "WANDB_API_KEY": SECRET}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "none"),
    ],
)
def test_effective_mode(
    wanted: str, environment: dict[str, str], effective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert effective_mode(wanted) == effective


@pytest.mark.parametrize(("known", "mode"), [(True, "online"), (False, "offline")])
def test_online_needs_a_key(known: bool, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: known)
    assert effective_mode("online") == mode


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
