"""Cells whose integers are evaluated by onnxruntime."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch

import models.export.packages
from bench.cells.recipe_label import presets, recipe_label
from bench.cells.request import request_of
from bench.cells.store import Store
from bench.config.schema import Config
from bench.measure.clock import Clock
from bench.measure.integers import IntegerNetwork, check_engine, integers_of
from bench.measure.remake import remake
from bench.measure.resources import Resources
from bench.tables.cell_rows import cell_rows
from models.errors import NotApplicable
from models.zoo import entry
from tests.bench.cells_of import plan, run_cell

Make = Callable[..., Config]

INTEGER = {
    "quant.sites": "integer",
    "quant.fold": True,
    "quant.w_scheme": "symmetric",
    "gate": "warn",
}
ENGINE = {"evaluate.engine": "onnxruntime"}


def test_the_engine_is_a_part_of_the_number_and_of_nothing_it_is_made_of(make_fast: Make) -> None:
    here, there = plan(make_fast()), plan(make_fast(ENGINE))
    assert here.id != there.id
    assert here.request.id != there.request.id
    assert here.calibration_key == there.calibration_key
    assert here.source == there.source
    assert here.as_float().id == there.as_float().id
    floating = {"quant.w_bits": 32, "quant.a_bits": 32}
    assert plan(make_fast(floating)).id == plan(make_fast(floating | ENGINE)).id


@pytest.mark.thorough
def test_integers_are_evaluated_and_recorded_beside_fake_quantization(make_fast: Make) -> None:
    configs = [make_fast(INTEGER), make_fast(INTEGER | ENGINE)]
    fake, real = (run_cell(config).result for config in configs)
    assert fake is not None
    assert real is not None
    assert (real.status, real.total) == ("done", 10)
    assert real.fp32_id == fake.fp32_id
    assert real.recipe.evaluation.engine == "onnxruntime"
    assert fake.recipe.evaluation.engine is None
    assert real.versions["onnxruntime"] == version("onnxruntime")
    assert "onnxruntime" not in fake.versions
    assert real.runtime["compiled"] is False
    assert abs(real.correct - fake.correct) <= 1  # of 10 images
    assert real.size_mb == fake.size_mb
    assert real.logit_mse == pytest.approx(fake.logit_mse, rel=0.2)
    assert real.logit_mse != fake.logit_mse
    # Tables keep them apart, and labels tell them.
    assert recipe_label(real, presets()).endswith(", engine onnxruntime")
    rows = cell_rows([request_of(config) for config in configs], [fake, real])
    assert rows["evaluate.engine"].tolist() == ["torch", "onnxruntime"]
    assert rows["correct"].tolist() == [fake.correct, real.correct]
    # What is stored is what the integers say, image by image.
    cell = plan(configs[1])
    again = remake(cell, Resources(), Clock())
    size = again.images.images.shape[-1]
    content = integers_of(again.made, size, again.by_channel).model.SerializeToString()
    pixels = torch.from_numpy(again.images.pixels(np.arange(10)))
    logits = IntegerNetwork(content)(cell.weights.preprocessing.normalise(pixels))
    right = logits.argmax(1).numpy() == again.images.labels
    items = Store(configs[1].paths.outputs).items(real.id)
    assert items.top1.tolist() == right.tolist()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quant.a_granularity": "channel"}, "quant.a_granularity=channel: integer kernels have"),
        ({"quant.a_bits": 12}, "quant.a_bits=12: integer kernels have activations of 8 bits"),
        ({"quant.w_bits": 10}, "quant.w_bits=10: integer kernels have weights of 8 bits at most"),
        ({"quant.w_bits": 32}, "the cell's weights are float: there are no integers"),
    ],
)
def test_what_has_no_integers_is_skipped_before_anything_is_measured(
    make_fast: Make, changes: dict[str, object], reason: str
) -> None:
    config = make_fast(ENGINE | changes)
    result = run_cell(config).result
    assert result is not None
    assert result.status == "skipped"
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert [each.id for each in Store(config.paths.outputs).results()] == [result.id]  # no float


@pytest.mark.thorough
def test_what_is_seen_only_once_it_is_quantized_is_skipped_too(make_fast: Make) -> None:
    changes = {"quant.rounding": "kmeans", "quant.w_bits": 3, "gate": "warn"}
    result = run_cell(make_fast(ENGINE | changes)).result
    assert result is not None
    assert result.status == "skipped"
    assert "is on no grid of 8 levels, as a codebook" in str(result.reason)


def test_networks_that_detect_have_no_integers(make_fast: Make) -> None:
    cell = plan(make_fast(ENGINE))
    cell = replace(cell, request=replace(cell.request, entry=entry("fpn_detector")))
    with pytest.raises(NotApplicable, match="fpn_detector detects, and only networks that class"):
        check_engine(cell)


def test_without_the_extra_a_cell_fails_in_one_line(
    make_fast: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.export.packages, "find_spec", lambda name: None)
    result = run_cell(make_fast(ENGINE)).result
    assert result is not None
    assert result.status == "failed"
    assert result.reason == (
        "onnx and onnxruntime not installed; pip install 'quantization-bench[export]'"
    )
