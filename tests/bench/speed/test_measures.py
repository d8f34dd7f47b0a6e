"""What is measured, with less of everything than for real; no time is asserted."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.cli import main
from bench.commands.speed import MEASURES
from bench.config.schema import RuntimeConfig
from bench.machine.device import Device
from bench.measure import compilation
from bench.measure.resources import Resources
from bench.speed import (
    cells,
    detection,
    distillation,
    evaluation,
    gates,
    generation,
    gpu,
    mixed,
    reconstruction,
    rounding,
    search,
    training,
    waiting,
)
from bench.speed.workplace import Workplace
from methods.distillation.batchnorm import check_statistics
from methods.generation.strategy import Generative
from methods.zeroq import ZeroQ
from models.errors import BenchError
from tests.spy import calls_of

TINY = ("data.limit=20", "method.images=2", "method.iterations=2")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(
        RuntimeConfig(device="cpu"), Device(torch.device("cpu")), tmp_path, Resources()
    )


@pytest.fixture
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "_SECONDS", 0.0)
    monkeypatch.setattr(distillation, "_IMAGES", 1)
    monkeypatch.setattr(evaluation, "_SECONDS", 0.0)
    monkeypatch.setattr(detection, "_SECONDS", 0.0)
    monkeypatch.setattr(training, "_SECONDS", 0.0)
    monkeypatch.setattr(training, "_IMAGES", 2)
    monkeypatch.setattr(mixed, "_SECONDS", 0.0)
    monkeypatch.setattr(mixed, "_IMAGES", 2)
    monkeypatch.setattr(gates, "_SECONDS", 0.0)
    monkeypatch.setattr(gates, "_IMAGES", 2)
    monkeypatch.setattr(generation, "_SECONDS", 0.0)
    monkeypatch.setattr(generation, "_IMAGES", 2)
    monkeypatch.setattr(reconstruction, "_SECONDS", 0.0)
    monkeypatch.setattr(reconstruction, "_IMAGES", 2)
    monkeypatch.setattr(reconstruction, "_STEPS", 1)
    monkeypatch.setattr(rounding, "_SECONDS", 0.0)
    monkeypatch.setattr(rounding, "_NETWORK", "resnet20")
    monkeypatch.setattr(rounding, "_IMAGES", 1)
    monkeypatch.setattr(rounding, "_EPOCHS", 1)
    monkeypatch.setattr(rounding, "_ITERATIONS", 1)
    monkeypatch.setattr(search, "_IMAGES", 2)
    monkeypatch.setattr(search, "_CALIBRATION", 2)
    monkeypatch.setattr(search, "_RANDOM", 1)
    monkeypatch.setattr(search, "_EPISODES", 2)
    monkeypatch.setattr(waiting, "_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "_BUSY", 1)
    monkeypatch.setattr(cells, "_CELL", (*cells._CELL, *TINY))


def test_every_measure_has_a_title_of_its_own() -> None:
    assert len({measure.title for measure in MEASURES}) == len(MEASURES)


def test_a_network_is_frozen_and_the_same_each_time(place: Workplace) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = (place.network("resnet20") for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    check_statistics(first)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert torch.equal(place.noise(2, 8), place.noise(2, 8))


@pytest.mark.usefixtures("_in_no_time")
def test_steps(place: Workplace) -> None:
    to_bare, to_half = distillation.of_network("resnet20", place)
    assert to_bare.above == to_half.above
    assert (to_bare.target, to_half.target) == ("<= 1.15", "")
    assert all(side.seconds > 0 for side in (to_bare.above, to_bare.below, to_half.below))
    assert to_bare.details == {"images": 1, "pixels": 32}
    assert distillation._BF16_AT_LEAST == {"efficientnet_lite0": 1.5}


@pytest.mark.slow
@pytest.mark.usefixtures("_in_no_time")
def test_training(place: Workplace) -> None:
    several, choice = training.of_network("resnet20", place)
    assert (several.target, choice.target) == ("<= 1.1", "<= 1.03")
    assert several.details == {"images": 2, "pixels": 32, "bits": [8, 6, 4, 2]}
    assert all(side.seconds > 0 for r in (several, choice) for side in (r.above, r.below))


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_training_beside_float(place: Workplace) -> None:
    one, several = training.beside_float("resnet20", place)
    assert (one.target, several.target) == ("<= 1.15", "<= 1.15")
    assert one.details == {"images": 2, "pixels": 32}
    assert several.details == one.details | {"bits": [8, 6, 4, 2]}
    assert several.below.seconds == 4 * one.below.seconds > 0
    assert min(one.above.seconds, several.above.seconds) > 0


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_steps_that_learn_bits(place: Workplace) -> None:
    tensor, channel = mixed.of_network("resnet20", place)
    assert (tensor.target, channel.target) == ("<= 1.25", "<= 1.25")
    assert tensor.details == {"images": 2, "pixels": 32, "granularity": "tensor"}
    assert tensor.below == channel.below
    assert min(side.seconds for side in (tensor.above, channel.above, tensor.below)) > 0


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_episodes(place: Workplace) -> None:
    haq, autoq = search.of_episodes(place)
    assert (haq.target, autoq.target) == ("<= 1.1", "<= 1.1")
    assert haq.details == {"images": 2, "updates": 5}
    assert haq.value > 1 and autoq.value > 1


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_steps_behind_gates(place: Workplace) -> None:
    start, worst = gates.of_network("resnet20", place)
    assert (start.target, worst.target) == ("<= 2.5", "<= 2.5")
    assert (start.details["gates"], worst.details["gates"]) == ("start", "worst")
    assert start.below == worst.below
    assert min(side.seconds for side in (start.above, worst.above, start.below)) > 0


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_steps_on_generated_images(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    learning = calls_of(monkeypatch, Generative, "_teach_generator")
    (ratio,) = generation.of_network("resnet20", place)
    assert ratio.target == "<= 1.2"
    assert ratio.details["seconds_of_600_steps"] == round(600 * ratio.above.seconds)
    assert {k: ratio.details[k] for k in ("images", "pixels", "bits")} == {
        "images": 2,
        "pixels": 32,
        "bits": 4,
    }
    # The student learns too: the steps are behind the warm-up.
    strategy, _, _, moment = learning[0]
    assert moment.step // strategy.constants.steps >= strategy.constants.warmup_epochs
    assert min(ratio.above.seconds, ratio.below.seconds) > 0


@pytest.mark.usefixtures("_in_no_time")
def test_reconstruction(place: Workplace) -> None:
    brecq, qdrop = reconstruction.of_network("resnet20", place)
    assert (brecq.target, qdrop.target) == ("<= 1.3", "")
    assert brecq.details == {"images": 2, "pixels": 32, "block": "features.stage2.unit2"}
    assert brecq.below == qdrop.below
    assert all(side.seconds > 0 for r in (brecq, qdrop) for side in (r.above, r.below))


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_rounding(place: Workplace) -> None:
    (codebooks,) = rounding.of_codebooks(place)
    assert codebooks.target == ">= 20"
    assert codebooks.details == {"equal assignments": 1.0}
    (runs,) = rounding.of_networks(place)
    assert runs.target == "<= 2"
    assert runs.details == {"images": 1, "epochs": 1, "iterations": 1}
    assert min(s.seconds for r in (codebooks, runs) for s in (r.above, r.below)) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("_in_no_time")
def test_threads_that_wait(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    work = waiting.Work("resnet20", 1, backward=True)
    assert waiting.waiting(work, place) == []  # with one thread none waits
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(waiting, "cpu_count", lambda: 2)
    idle, fair, unbounded = waiting.waiting(work, place)
    assert (idle.target, fair.target, unbounded.target) == ("<= 1.05", "<= 2", "")
    assert idle.above.seconds > 0
    assert fair.below.seconds == 1.5 * idle.above.seconds  # two threads and a process, two cores
    assert unbounded.below == fair.above
    assert idle.details["GOMP_SPINCOUNT"] == "10000"


@pytest.mark.slow
@pytest.mark.usefixtures("_in_no_time")
def test_evaluation(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    small = replace(place, device=replace(place.device, batch_size=2))
    compiled, eager, mixed = evaluation.of_network("resnet20", small)
    assert [ratio.target for ratio in (compiled, eager, mixed)] == ["<= 1.05", "<= 1.3", ""]
    assert compiled.details["same_predictions"] == compiled.details["images"] == 2
    assert compiled.details["largest_difference"] == 0
    assert eager.details == mixed.details == {"images": 2, "pixels": 32}
    assert (mixed.above, mixed.below) == (compiled.above, eager.below)
    assert eager.name == "fake-quantized / float evaluation, eager: resnet20, 2 images of 32 px"


@pytest.mark.slow
@pytest.mark.usefixtures("_in_no_time")
def test_detection(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    small = replace(place, device=replace(place.device, batch_size=2))
    compiled, eager = detection.of_detector(small)
    assert [ratio.target for ratio in (compiled, eager)] == ["<= 1.1", "<= 1.1"]
    assert compiled.details == eager.details == {"images": 2, "pixels": 96}
    assert eager.name == "fake-quantized / float detection, eager: fpn_detector, 2 images of 96 px"
    assert min(side.seconds for r in (compiled, eager) for side in (r.above, r.below)) > 0


@pytest.mark.usefixtures("_in_no_time")
def test_loading(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_LOADED", "resnet20")
    monkeypatch.setattr(evaluation, "_LOADED_IMAGES", 10)
    (found,) = evaluation.of_loading(place)
    assert found.target == "<= 0.05"
    assert 0 < found.above.seconds < found.below.seconds
    assert list(place.outputs.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.usefixtures("_in_no_time")
def test_bit_widths_distil_once_and_bfloat16_once_more(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len({cells._FIRST, *cells._MORE}) == 1 + len(cells._MORE) == 10
    monkeypatch.setattr(cells, "_MORE", cells._MORE[3:5])
    more, sweep = cells.more_recipes(place)
    assert sweep.target == "<= 1.05"
    assert sweep.above.seconds > sweep.below.seconds > more.below.seconds
    assert more.target == "<= 0.05"
    assert more.details == {"bits": [[8, 8], [4, 4], [3, 3]]}
    kept = place.outputs / "cache" / "calibration"
    assert len(list(kept.iterdir())) == 1
    assert len(list((place.outputs / "cells").iterdir())) == 4  # with the float network

    (half,) = cells.bfloat16_images(place)
    assert len(list(kept.iterdir())) == 2
    assert half.above == half.above._replace(seconds=more.below.seconds)
    top1 = half.details["top1_percent"]
    assert half.details["cell"] == "W4A4"
    assert half.details["difference_points"] == pytest.approx(top1["bf16"] - top1["fp32"])


def test_a_cell_that_fails_is_said(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="bench")
    monkeypatch.setattr(training, "_SECONDS", 0.0)
    monkeypatch.setattr(training, "_IMAGES", 2)
    monkeypatch.setattr(mixed, "_SECONDS", 0.0)
    monkeypatch.setattr(mixed, "_IMAGES", 2)
    monkeypatch.setattr(search, "_IMAGES", 2)
    monkeypatch.setattr(search, "_CALIBRATION", 2)
    monkeypatch.setattr(search, "_RANDOM", 1)
    monkeypatch.setattr(search, "_EPISODES", 2)
    monkeypatch.setattr(gates, "_SECONDS", 0.0)
    monkeypatch.setattr(gates, "_IMAGES", 2)
    monkeypatch.setattr(waiting, "_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "_BUSY", 1)
    monkeypatch.setattr(cells, "_CELL", (*cells._CELL, *TINY, "method.learning_rate=1e30"))
    with pytest.raises(BenchError, match=r"^a cell that is timed failed: the loss is "):
        cells.more_recipes(place)
    assert "the cell failed" in caplog.text


def test_a_layer_takes_as_long_as_its_arithmetic_or_its_memory() -> None:
    # 2 x 5 x 7 = 70 multiply-accumulates; 4 x (14 + 35 + 10) bytes.
    network = torch.nn.Linear(7, 5, bias=False)
    batch = torch.zeros(2, 7)
    assert gpu.least_seconds(network, batch, gpu.Chip(10.0, 1e9)) == pytest.approx(14)
    assert gpu.least_seconds(network, batch, gpu.Chip(1e9, 4.0)) == pytest.approx(59)


@pytest.mark.thorough
def test_measures_for_a_gpu_run_anywhere(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    for name, value in {
        "_DISTILLED": "resnet20",
        "_METHOD": ZeroQ(images=2, iterations=1),
        "_IMAGES": 2,
        "_SECONDS": 0.0,
        "_MATRIX": 8,
        "_BYTES": 64,
    }.items():
        monkeypatch.setattr(gpu, name, value)
    (synthesis,) = gpu.of_synthesis(place)
    assert synthesis.name == "synthesis and calibration / 10 s: resnet20, 2 images, 1 steps"
    assert synthesis.value == pytest.approx(synthesis.above.seconds / 10)
    found = gpu.of_evaluation("resnet20", place)
    assert [ratio.above.what for ratio in found] == [
        f"a batch, {bits}, {how}" for how in ("eager", "compiled") for bits in ("float32", "W4A4")
    ]
    for ratio in found:
        assert ratio.details["fraction_of_the_chip"] == pytest.approx(1 / ratio.value)
        assert ratio.details["images_per_second"] == pytest.approx(2 / ratio.above.seconds)
        assert ratio.details["multiplications"] == 40813184


def test_without_a_gpu_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["speed", "--gpu", "--out", str(tmp_path), "runtime.device=cpu"]
    assert main(arguments) == 2
    assert "bench speed --gpu needs an NVIDIA GPU" in capsys.readouterr().err
