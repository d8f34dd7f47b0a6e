"""A cell with mixed precision: what is kept, what is recorded, what is refused at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import bench.measure.mixed
from bench.cells.result import Result
from bench.config.compose import compose
from bench.config.schema import Config, read_config
from tests.bench.cells_of import plan, request_id, run_cell

MakeConfig = Callable[..., Config]
MIXED = {"w_bits": "mixed", "a_bits": 8, "w_candidates": [2, 4, 8]}


def mixed(**budget: float) -> dict[str, object]:
    return {"quant": MIXED | budget}


@pytest.mark.thorough
def test_the_record_says_each_layers_bits(make_fast: MakeConfig, outputs: Path) -> None:
    result = run_cell(make_fast(mixed(mean_bits=4))).result
    assert result is not None
    assert (result.status, result.w_bits, result.bits) == ("done", "mixed", "MP4/A8")
    bits = result.recipe.weight_bits
    assert len(bits) == 22  # convolutions of resnet20 with two projections, and its last layer
    assert set(bits.values()) == {2, 4, 8}
    folder = outputs / "cells" / result.id
    said = json.loads((folder / "mixed.json").read_bytes())
    assert said["bits"] == bits
    sizes, costs = zip(*said["frontier"], strict=True)
    assert list(sizes) == sorted(sizes)
    assert list(costs) == sorted(costs, reverse=True)
    assert said["size_mb"] == result.size_mb <= 4 * sizes[0] / 2
    assert [result.size_mb, said["cost"]] in said["frontier"]
    assert {layer["layer"]: layer["bits"] for layer in said["layers"]} == bits
    with Image.open(folder / "mixed.png") as plot:
        assert plot.size == (1200, 450)


@pytest.mark.usefixtures("undrawn")
def test_sensitivities_are_measured_once_for_every_budget(
    make_fast: MakeConfig, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_cell(make_fast(small | mixed(mean_bits=4))).result
    measured: list[str] = []
    real = bench.measure.mixed.sensitivity

    def counting(network, spec, images, known, progress):  # type: ignore[no-untyped-def]
        for name, found in real(network, spec, images, known, progress):
            measured.append(name)
            yield name, found

    monkeypatch.setattr(bench.measure.mixed, "sensitivity", counting)
    smaller = run_cell(make_fast(small | mixed(size_mb=0.0005))).result
    assert first is not None
    assert smaller is not None
    assert smaller.size_mb is not None
    assert smaller.bits == "MP0.0005MiB/A8"
    assert smaller.size_mb <= 0.0005
    assert measured == []
    other_grid = mixed(mean_bits=4)["quant"] | {"w_granularity": "tensor"}  # type: ignore[operator]
    run_cell(make_fast(small | {"quant": other_grid}))
    assert len(measured) == 3


@pytest.mark.faults
def test_what_a_killed_process_measured_is_not_measured_again(
    make_fast: MakeConfig,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = bench.measure.mixed.sensitivity

    def dying(network, spec, images, known, progress):  # type: ignore[no-untyped-def]
        for done, found in enumerate(real(network, spec, images, known, progress)):
            if done == 5:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(bench.measure.mixed, "sensitivity", dying)
        with pytest.raises(KeyboardInterrupt):
            run_cell(make_fast(mixed(mean_bits=4)))
    (kept,) = (outputs / "cache" / "sensitivity").glob("*.json")
    before = json.loads(kept.read_bytes())["layers"]
    assert len(before) == 5
    with caplog.at_level("INFO"):
        result = run_cell(make_fast(mixed(mean_bits=4))).result
    assert [line for line in caplog.messages if "goes on" in line] == [
        f"  goes on after 5 layers, from {kept}"
    ]
    assert result is not None
    assert result.status == "done"
    after = json.loads(kept.read_bytes())["layers"]
    assert len(after) == 22
    assert before.items() <= after.items()


def test_a_budget_that_cannot_be_met_fails_before_any_long_work(
    make_fast: MakeConfig, outputs: Path
) -> None:
    result = run_cell(make_fast(mixed(size_mb=0.05))).result
    assert result is not None
    assert result.status == "failed"
    assert result.reason is not None
    assert result.reason.startswith("quant.size_mb=0.05 is below the smallest possible: 2 bits")
    assert not (outputs / "cache" / "calibration").exists()


def test_budget_and_candidates_are_part_of_the_identity(make_fast: MakeConfig) -> None:
    asked = [
        mixed(mean_bits=4),
        mixed(mean_bits=3),
        mixed(size_mb=4),
        {"quant": MIXED | {"mean_bits": 4, "w_candidates": [3, 4, 8]}},
        {"quant": MIXED | {"mean_bits": 4, "a_bits": 6}},
        {"quant": {"w_bits": 4, "a_bits": 8}},
    ]
    configs = [make_fast(changes) for changes in asked]
    assert len({plan(config).id for config in configs}) == len(asked)
    assert len({request_id(config) for config in configs}) == len(asked)


def test_every_result_has_a_size(make_fast: MakeConfig) -> None:
    sizes = {}
    for bits in (4, 8, 32):
        result = run_cell(make_fast({"quant": {"w_bits": bits, "a_bits": bits}})).result
        assert result is not None
        sizes[bits] = result.size_mb
        # A step and a zero point of 32 bits for each of the 794 output channels of resnet20.
        beside = 0 if bits == 32 else 794 * 64 / 8 / 2**20
        assert result.size_mb is not None
        assert result.size_with_scales_mb == pytest.approx(result.size_mb + beside, rel=1e-9)
    assert sizes[32] == 8 * sizes[4] == 4 * sizes[8] > 0.5  # type: ignore[operator]


TRAINED = (
    *("method=mixed_step_range", "method.images=8", "method.qat.granularity=channel"),
    *("method.pretraining_epochs=1", "method.finetuning_epochs=0", "method.update_period=1"),
    *("method.schedule.epochs=1", "method.schedule.batch_size=5", "method.penalty_unit=target"),
    *("method.penalty=300", "method.schedule.quantizer_rate=2", "data.subset=20", "data.limit=10"),
    *("quant=mixed_all", "quant.budget={mean_bits:3,mean_activation_bits:2}"),
    *("tracking=none", "runtime.threads=1"),
)


@pytest.mark.thorough
def test_bits_that_are_trained_are_recorded_as_they_are_reached(tmp_path: Path) -> None:
    config = read_config(compose([*TRAINED, f"paths.outputs={tmp_path}"]))
    result = run_cell(config).result
    assert result is not None
    assert result.status == "done", result.reason
    folder = tmp_path / "cells" / result.id
    said = json.loads((folder / "mixed.json").read_bytes())
    weight_bits, input_bits = result.recipe.weight_bits, result.recipe.input_bits
    assert said["bits"] == weight_bits
    assert said["input_bits"] == input_bits
    assert weight_bits is not None and len(weight_bits) == 22
    assert input_bits is not None and input_bits["features.init_block.conv"] == 8
    several = [layer for layer in said["layers"] if "channel_bits" in layer]
    for layer in several:
        of = layer["channel_bits"]
        assert layer["bits"] == pytest.approx(sum(of) / len(of))
    assert result.size_mb is not None
    assert result.activations_mb is not None
    (first, last) = json.loads((folder / "training.json").read_bytes())["epochs"]
    assert (first["phase"], last["phase"]) == (1, 2)
    sizes = {name: values[-1] for name, values in last["curves"].items()}
    assert result.size_mb == pytest.approx(sizes["weights, MiB"], rel=0.3)
    for name, target in last["targets"].items():
        size = result_size(result, name)
        line = f"the training has missed a target: {name} {size:.4g}, above the {target:.4g} of"
        assert any(said.startswith(line) for said in result.warnings) == (size > target)


def result_size(result: Result, name: str) -> float:
    size = result.size_mb if name.startswith("weights") else result.activations_mb
    assert size is not None
    return size


GATED = (
    *("model=lenet5", "method=bayesian_bits", "quant=mixed_all", "method.images=8"),
    *("method.schedule.epochs=4", "method.schedule.batch_size=5", "method.finetuning_epochs=1"),
    *("method.mu=1", "method.gate_rate=0.7", "data.subset=20", "data.limit=10"),
    *("tracking=none", "runtime.threads=1"),
)


@pytest.mark.thorough
def test_bits_and_channels_that_gates_choose_are_recorded(tmp_path: Path) -> None:
    config = read_config(compose([*GATED, f"paths.outputs={tmp_path}"]))
    result = run_cell(config).result
    assert result is not None
    assert result.status == "done", result.reason
    folder = tmp_path / "cells" / result.id
    layers = json.loads((folder / "mixed.json").read_bytes())["layers"]
    assert [layer["layer"] for layer in layers][-1] == "classifier.3"
    assert layers[0]["input_bits"] == 32  # images stay as they are
    weights = (800, 51_200, 524_288, 5_120)
    bits = sum(n * layer["bits"] for n, layer in zip(weights, layers, strict=True))
    assert result.size_mb == pytest.approx(bits / 8 / 2**20)
    assert result.mean_bits == pytest.approx(bits / sum(weights))
    # Image, then what each layer reads: the multiplications of LeNet-5 at the bits of both.
    macs = (460_800, 3_276_800, 524_288, 5_120)
    inputs = [layer["input_bits"] for layer in layers]
    products = [m * layer["bits"] * b for m, layer, b in zip(macs, layers, inputs, strict=True)]
    assert result.bops == pytest.approx(sum(products), rel=1e-6)
    assert not [line for line in result.warnings if "stay float" in line]
    said = json.loads((folder / "training.json").read_bytes())["epochs"]
    assert [epoch["phase"] for epoch in said] == [1, 1, 1, 1, 2]
    assert len(said[0]["curves"]["gates of weights/8 bits"]) == 4
    assert said[3]["gates"]["features.3"].keys() == {"input", "weight", "channels"}
    assert (folder / "mixed.png").exists() and (folder / "training.png").exists()
