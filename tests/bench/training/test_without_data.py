"""Trainings without data: no training image is touched, and what they make is kept and shared."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import bench.training.cache
from bench.config.compose import compose
from bench.config.schema import read_config
from bench.data.listings import Listings
from bench.measure import calibration
from bench.training.cache import training_key
from methods.gdfq import GDFQ
from methods.training.base import TrainedMethod
from methods.training.loop import Training
from tests.bench.cells_of import plan, run_cell
from tests.spy import calls_of, lines_of

QUICK = (
    *("tracking=none", "data.limit=10", "runtime.threads=1"),
    *("method.schedule.epochs=2", "method.schedule.batch_size=4"),
)
GENERATED = ("method=gdfq", "method.steps=2", "method.warmup_epochs=1", "method.images=4")
DISTILLED = ("method=distilled_qat", "method@method.source=gaussian", "method.source.images=8")


def config(outputs: Path, *overrides: str, quant: str = "w4a4") -> Any:
    given = [*QUICK, f"quant={quant}", *overrides, f"paths.outputs={outputs}"]
    return read_config(compose(given))


@pytest.fixture
def no_training_side(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Listings.of

    def listed(self: Listings, data: Any, side: str, cache: Path) -> Any:
        assert side != "train", "a method without data asked for the training side"
        return of(self, data, side, cache)  # type: ignore[arg-type]

    monkeypatch.setattr(Listings, "of", listed)


@pytest.mark.thorough
@pytest.mark.usefixtures("no_training_side")
def test_a_generator_trains_without_a_training_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = calls_of(monkeypatch, Training, "run")
    results = [
        run_cell(config(tmp_path, *GENERATED, *more)).result for more in ((), ("force=true",))
    ]
    for result in results:
        assert result is not None and result.status == "done", result and result.reason
        assert result.recipe.calibration.set is None
        assert result.quantized_weights == pytest.approx(100, abs=1)
        folder = tmp_path / "cells" / result.id
        with Image.open(folder / "generated.png") as picture:
            assert picture.size == (4 * 32, 2 * 32)  # both epochs, a row each
        epochs = json.loads((folder / "training.json").read_bytes())["epochs"]
        assert {*epochs[0]["curves"]} == {
            *("generator_cross_entropy", "generator_statistics", "image_variety")
        }
    assert len(trainings) == 1  # the second is read


@pytest.mark.usefixtures("no_training_side", "undrawn")
def test_fixed_images_are_shared_with_their_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = plan(config(tmp_path, *DISTILLED))
    own = plan(
        read_config(compose(["method=gaussian", "method.images=8", f"paths.outputs={tmp_path}"]))
    )
    assert cell.calibration_key == own.calibration_key and cell.id != own.id
    made = calls_of(monkeypatch, calibration, "_checked")
    result = run_cell(config(tmp_path, *DISTILLED)).result
    assert result is not None and result.status == "done", result and result.reason
    assert len(made) == 1 and result.calibration_key == own.calibration_key
    assert result.recipe.method["source"] == {"name": "gaussian", "images": 8}


def test_bits_and_sources_have_trainings_of_their_own(tmp_path: Path) -> None:
    def key(quant: str, *overrides: str) -> str:
        distilled = DISTILLED[:-1] if overrides else DISTILLED
        cell = plan(config(tmp_path, *distilled, *overrides, quant=quant))
        assert isinstance(cell.method, TrainedMethod)
        return training_key(cell, cell.method)

    others = key("w4a8"), key("w3a3"), key("w4a4", "method.source.images=9")
    assert len({key("w4a4"), *others}) == 4
    assert key("w4a4") == key("w4a4")


@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_cannot_be_drawn_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError("no such font")

    monkeypatch.setattr(bench.training.cache, "over_time", fail)
    lines = lines_of(monkeypatch, "bench.training.cache", "warning")
    result = run_cell(config(tmp_path, *GENERATED)).result
    assert result is not None and result.status == "done"
    assert lines == ["warning: generated.png is not drawn: no such font"]
    assert not (tmp_path / "cells" / result.id / "generated.png").exists()


def test_whoever_says_it_sees_no_data_and_reaches_for_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_at = GDFQ.used_at

    def reaching(self: GDFQ, *given: Any) -> Any:
        given[-1](1)
        return used_at(self, *given)

    monkeypatch.setattr(GDFQ, "used_at", reaching)
    result = run_cell(config(tmp_path, *GENERATED)).result
    assert result is not None and result.reason == (
        "method 'gdfq' reached for training images; a method that uses them must declare "
        "needs_real_images"
    )


def test_a_generator_is_not_shared_by_processes(tmp_path: Path) -> None:
    result = run_cell(config(tmp_path, *GENERATED, "runtime.processes=2")).result
    assert result is not None and result.reason == (
        "runtime.processes=2: the generator of gdfq normalises by the batch of one process; give "
        "runtime.processes=1"
    )
