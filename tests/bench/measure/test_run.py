import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import bench.measure.facts
import bench.measure.run
from bench.cells.request import float_config
from bench.cells.store import Store
from bench.config.compose import compose
from bench.config.schema import Config
from bench.measure.resources import Resources
from bench.statistics.intervals import wilson_interval
from bench.statistics.significance import discordant
from methods.gaussian import Gaussian
from models.errors import BenchError
from models.zoo import PublishedAccuracy, Weights, ZooEntry, choose_weights, entry
from tests.bench.cells_of import run_cell
from tests.bench.conftest import assert_nothing_partial

Make = Callable[..., Config]


def shipped() -> Path:
    return choose_weights(entry("resnet20"), "default").path()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Pretend that a float top-1 was published for the 10 images of the fast cells."""

    def pretend(top1: float) -> None:
        def choose(entry: ZooEntry, tag: str) -> Weights:
            fake = PublishedAccuracy(top1, None, "mnist5k", 10, "a test")
            return replace(choose_weights(entry, tag), published=fake)

        monkeypatch.setattr("bench.cells.request.choose_weights", choose)

    return pretend


def test_a_cell_from_config_to_record(make_fast: Make, outputs: Path) -> None:
    config = make_fast({"quant.w_bits": 3, "quant.a_bits": 4, "seed": 2, "group": "g"})
    outcome = run_cell(config)
    result = outcome.result
    assert outcome.kind == "measured"
    assert result is not None
    assert result.status == "done"
    assert (result.reason, result.traceback) == (None, None)
    assert (result.model, result.weights, result.method) == ("resnet20", "mnist5k", "gaussian")
    assert (result.data, result.w_bits, result.a_bits, result.seed) == ("mnist5k", 3, 4, 2)
    assert result.group == "g"

    assert result.correct is not None
    assert result.correct_top5 is not None
    assert result.total == 10
    assert result.top1 == 100 * result.correct / 10
    assert result.top5 == 100 * result.correct_top5 / 10
    assert result.correct <= result.correct_top5
    assert (result.ci_low, result.ci_high) == wilson_interval(result.correct, 10)
    assert (result.macs, float(result.bops or 0)) == (40_813_184, pytest.approx(6.33e8, rel=0.3))
    assert result.logit_mse is not None
    assert 0 < result.logit_mse < 100
    correct = Store(outputs).items(result.id)
    assert (len(correct.top1), int(correct.top1.sum())) == (10, result.correct)
    assert int(correct.top5.sum()) == result.correct_top5

    float_cell = Store(outputs).read(str(result.fp32_id))
    assert float_cell is not None
    assert (float_cell.method, float_cell.logit_mse) == ("float", None)
    assert float_cell.top1 == float_cell.fp32_top1 == result.fp32_top1
    assert float_cell.fp32_id == float_cell.id
    assert result.fp32_expected is None  # published for 1,000 images, not for 10

    phases = {"float", "load", "decode", "synthesise", "quantize", "evaluate", "total"}
    assert result.seconds.keys() == phases
    assert sum(result.seconds.values()) - result.seconds["total"] <= result.seconds["total"] + 0.01
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes > 2**20
    assert result.runtime["device"] == "cpu"
    assert result.versions["torch"]
    assert result.started_at.endswith("+00:00")
    files = {file.name for file in (outputs / "cells" / result.id).iterdir()}
    assert files == {"config.yaml", "result.json", "correct.npz", "log.txt"}
    assert_nothing_partial(outputs)


def test_images_lost_and_gained_by_quantization(make_fast: Make, outputs: Path) -> None:
    result = run_cell(make_fast({"quant.w_bits": 2, "quant.a_bits": 2})).result
    assert result is not None
    float_cell = Store(outputs).read(str(result.fp32_id))
    assert float_cell is not None
    right, before = (Store(outputs).items(cell.id).top1 for cell in (result, float_cell))
    assert (result.lost, result.gained) == discordant(before, right)
    assert result.lost is not None
    assert result.lost > 0
    assert (float_cell.lost, float_cell.gained) == (None, None)


def test_the_second_call_finds_it_and_force_measures_again(make_fast: Make) -> None:
    first = run_cell(make_fast())
    again = run_cell(make_fast({"runtime.batch_size": 7, "runtime.workers": 1}))
    assert (again.kind, again.id) == ("found", first.id)
    assert again.result is not None
    assert first.result is not None
    assert again.result.started_at == first.result.started_at
    forced = run_cell(make_fast({"force": True}))
    assert (forced.kind, forced.id) == ("measured", first.id)
    assert forced.result is not None
    assert forced.result.correct == first.result.correct


@pytest.mark.thorough
def test_batch_size_and_layout_change_no_image(make_fast: Make, tmp_path: Path) -> None:
    found = []
    changes: list[dict[str, Any]] = [
        {"runtime.batch_size": 100},
        {"runtime.batch_size": 7},
        {"runtime.channels_last": False},
    ]
    for index, change in enumerate(changes):
        place = tmp_path / str(index)
        bits = {"quant.w_bits": 3, "quant.a_bits": 3, "paths.outputs": str(place)}
        change["data.limit"] = 100
        outcome = run_cell(make_fast(bits | change))
        found.append(Store(place).items(outcome.id).top1)
    assert np.array_equal(found[0], found[1])
    # Another memory layout sums in another order: a single image on the edge may turn.
    assert np.count_nonzero(found[0] != found[2]) <= 1


def test_a_float_cell(make_fast: Make, outputs: Path) -> None:
    outcome = run_cell(make_fast({"quant.w_bits": 32, "quant.a_bits": 32, "seed": 3}))
    result = outcome.result
    assert result is not None
    assert (result.method, result.seed, result.fp32_id) == ("float", 0, result.id)
    assert result.fp32_top1 == result.top1
    assert result.calibration_key is None
    assert result.seconds.keys() == {"load", "decode", "evaluate", "total"}
    assert [path.name for path in (outputs / "cells").iterdir()] == [result.id]


def test_real_names_its_training_images(make_fast: Make) -> None:
    outcome = run_cell(make_fast({"method": {"name": "real", "images": 20}}))
    assert outcome.result is not None
    calibration = outcome.result.recipe.calibration
    assert calibration.images == 20
    assert calibration.indices is not None and len(set(calibration.indices)) == 20
    assert all(0 <= index < 4000 for index in calibration.indices)


def test_a_failure_is_recorded_and_tried_again(
    make_fast: Make,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="bench")
    float_bits = {"quant.w_bits": 32, "quant.a_bits": 32}
    run_cell(make_fast(float_bits))

    def broken(*args: Any) -> None:
        raise RuntimeError("out of memory\nand more")

    with monkeypatch.context() as patch:
        patch.setattr("bench.measure.phases.evaluate", broken)
        outcome = run_cell(make_fast())
    result = outcome.result
    assert result is not None
    assert (outcome.kind, result.status) == ("measured", "failed")
    assert result.reason == "RuntimeError: out of memory"
    assert result.traceback is not None
    assert result.traceback.rstrip().endswith("and more")
    assert (result.top1, result.correct, result.ci_low) == (None, None, None)
    assert "out of memory" in (outputs / "cells" / result.id / "log.txt").read_text()

    again = run_cell(make_fast())
    assert again.result is not None
    assert (again.kind, again.id, again.result.status) == ("measured", outcome.id, "done")
    assert_nothing_partial(outputs)


def test_a_float_network_that_fails_is_the_reason(
    make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("bench.measure.phases.evaluate", broken)
    outcome = run_cell(make_fast())
    assert outcome.result is not None
    assert outcome.result.reason == (
        "the float network could not be measured: RuntimeError: out of memory"
    )


def test_what_has_no_meaning_is_skipped_for_good(
    make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gaussian, "not_applicable", lambda *_: "noise has no meaning here")
    outcome = run_cell(make_fast())
    assert outcome.result is not None
    assert (outcome.result.status, outcome.result.reason) == (
        "skipped",
        "noise has no meaning here",
    )
    assert outcome.result.traceback is None
    assert outcome.result.fp32_top1 is not None
    monkeypatch.undo()
    again = run_cell(make_fast())
    assert again.result is not None
    assert (again.kind, again.result.status) == ("found", "skipped")


def test_the_gate_stops_before_anything_is_quantized(
    make_fast: Make, published: Callable[[float], None]
) -> None:
    published(50.0)
    outcome = run_cell(make_fast())
    result = outcome.result
    assert result is not None
    assert result.status == "failed"
    assert result.reason is not None
    assert result.reason.startswith("float top-1 of resnet20 on mnist5k is ")
    assert "and 50.0 % was published for these weights" in result.reason
    assert result.fp32_expected == 50.0
    assert result.seconds.keys() == {"float", "total"}

    warned = run_cell(make_fast({"gate": "warn"}))
    assert warned.result is not None
    assert (warned.kind, warned.result.status) == ("measured", "done")


def test_the_gate_lets_the_published_network_pass(
    make_fast: Make, published: Callable[[float], None]
) -> None:
    published(99.0)
    outcome = run_cell(make_fast())
    assert outcome.result is not None
    assert (outcome.result.status, outcome.result.fp32_expected) == ("done", 99.0)


@pytest.mark.thorough
def test_the_whole_set_is_the_published_one(make_config: Make) -> None:
    outcome = run_cell(make_config({"quant.w_bits": 32, "quant.a_bits": 32}))
    assert outcome.result is not None
    assert (outcome.result.correct, outcome.result.total) == (990, 1000)
    assert outcome.result.fp32_expected == 99.0


def test_a_full_disk_leaves_the_old_record(
    make_fast: Make, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_cell(make_fast())

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.measure.run.yaml, "safe_dump", full)
    with pytest.raises(BenchError) as error:
        run_cell(make_fast({"force": True}))
    assert str(error.value) == (
        f"cannot write under {outputs}: No space left on device; make room or change the "
        "permissions there, or give another folder with paths.outputs=DIR"
    )
    kept = Store(outputs).read(first.id)
    assert kept is not None
    assert first.result is not None
    assert kept.started_at == first.result.started_at
    assert_nothing_partial(outputs)


def test_a_damaged_record_is_measured_again(make_fast: Make, outputs: Path) -> None:
    first = run_cell(make_fast())
    assert first.result is not None
    path = outputs / "cells" / first.id / "result.json"
    path.write_text(path.read_text()[:500])
    again = run_cell(make_fast())
    assert again.result is not None
    assert (again.kind, again.id, again.result.correct) == (
        *("measured", first.id, first.result.correct),
    )
    assert run_cell(make_fast()).kind == "found"


def test_a_record_of_a_newer_version_stops_its_cell_alone(make_fast: Make, outputs: Path) -> None:
    first = run_cell(make_fast())
    path = outputs / "cells" / first.id / "result.json"
    path.write_text(newer := '{"schema_version": 99}')
    for force in (False, True):
        with pytest.raises(BenchError, match="is of a newer version of this project"):
            run_cell(make_fast({"force": force}))
    assert path.read_text() == newer
    assert run_cell(make_fast({"seed": 1})).kind == "measured"


def test_weights_that_cannot_be_used(make_fast: Make, tmp_path: Path) -> None:
    state = load_file(shipped())
    key = next(key for key in state if state[key].is_floating_point())
    state[key].view(-1)[0] = torch.nan
    nan, cut = tmp_path / "nan.safetensors", tmp_path / "cut.safetensors"
    save_file(state, nan)
    cut.write_bytes(shipped().read_bytes()[:5000])
    for path, word in ((nan, f"{key!r} holds NaN or infinity"), (cut, "cannot read weights from")):
        outcome = run_cell(make_fast({"model.weights": str(path)}))
        assert outcome.result is not None
        assert outcome.result.status == "failed"
        assert outcome.result.reason is not None
        assert word in outcome.result.reason
        assert "\n" not in outcome.result.reason


def test_a_cell_that_another_process_measures_is_left_to_it(make_fast: Make, outputs: Path) -> None:
    store = Store(outputs)
    id = run_cell(make_fast()).id
    with store.lock(id, wait=False):  # another file handle: as good as another process
        outcome = run_cell(make_fast({"force": True}), wait=False)
    assert (outcome.kind, outcome.id, outcome.result) == ("busy", id, None)


def test_a_repetition_that_fails_costs_no_number(
    make_fast: Make, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = run_cell(make_fast()).id
    first = Store(outputs).read(id)

    def broken(*args: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("bench.measure.phases.evaluate", broken)
    again = run_cell(make_fast({"force": True}))
    assert again.result is not None and again.result.status == "failed"
    assert Store(outputs).read(id) == first
    assert list((outputs / "pending").glob("*")) == []


def test_a_float_network_that_fails_is_tried_once_a_command(
    make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def broken(*args: Any) -> None:
        calls.append(1)
        raise RuntimeError("out of memory")

    monkeypatch.setattr("bench.measure.phases.evaluate", broken)
    command = Resources()
    for bits in (8, 4, 3):
        outcome = run_cell(make_fast({"quant.w_bits": bits}), command)
        assert outcome.result is not None and outcome.result.status == "failed"
    assert len(calls) == 1
    run_cell(make_fast(), Resources())
    assert len(calls) == 2


RECIPES = ["zeroq_release", "all_inputs", "dsg_release", "deploy", "dfq", "integer_only"]


@pytest.fixture(scope="session")
def of_recipes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the float cell of all recipes is measured once."""
    return str(tmp_path_factory.mktemp("recipes"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_measures_against_the_same_float_cell(
    make_fast: Make, of_recipes: str, recipe: str
) -> None:
    quant = compose([f"recipe={recipe}"])["quant"]
    hundred = {"data.limit": 100, "paths.outputs": of_recipes}
    result = run_cell(make_fast({"quant": quant, **hundred})).result
    assert result is not None
    assert (result.status, result.reason) == ("done", None)
    assert result.fp32_id == run_cell(float_config(make_fast(hundred))).id
    assert result.correct is not None and result.correct >= 95  # of 100 digits, at 8 bits
