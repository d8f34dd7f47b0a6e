"""Cells of detection from their configuration to their table, on squares."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cells.result import LATER, Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.measure.resources import Resources
from bench.tables.cell_rows import recorded_rows
from bench.tables.pairs import compare_methods
from bench.tables.render import render
from bench.tables.table import results_table
from bench.tasks.detection import Detected
from models.errors import BenchError
from tests.bench.cells_of import plan, run_cell
from tests.bench.tasks.squares import DATA, MODEL

Make = Callable[..., Config]

METHODS = (
    {"name": "gaussian", "images": 4},
    {"name": "real", "images": 4},
    {"name": "zeroq", "images": 2, "iterations": 2},
    {"name": "dsg", "images": 2, "iterations": 2, "margin_images": 8},
)


@pytest.fixture
def squares(make_config: Make) -> Make:
    """Make the config of a cell on squares."""
    known = {"model": MODEL, "data": DATA, "quant.sites": "all", "method": METHODS[0]}
    return lambda changes=None: make_config(known | (changes or {}))


def measured(config: Config, resources: Resources | None = None) -> Result:
    result = run_cell(config, resources).result
    assert result is not None and result.status == "done", result and result.reason
    return result


def test_a_float_cell(squares: Make, outputs: Path) -> None:
    result = measured(squares({"quant.w_bits": 32, "quant.a_bits": 32}))
    assert (result.task, result.top1, result.correct, result.total) == ("detection", None, None, 20)
    # Each square is found as it is, and nothing else.
    assert (result.map, result.map_50, result.ar_100, result.fp32_map) == (100, 100, 100, 100)
    assert (result.ci_low, result.ci_high) == (100, 100)
    assert result.map_small == 100 and result.map_large is None
    assert result.boxes == result.objects
    assert (result.headline, result.float_headline, result.classes) == (100, 100, 1)
    items = Store(outputs).items(result.id)
    assert isinstance(items, Detected) and len(items.truths) == 20
    record = json.loads((outputs / "cells" / result.id / "result.json").read_bytes())
    assert {*LATER} - record.keys() == {"masks"}
    assert not (outputs / "cells" / result.id / "correct.npz").exists()


@pytest.mark.thorough
def test_every_method_that_has_a_meaning(squares: Make, outputs: Path) -> None:
    resources = Resources()
    results = [
        measured(squares({"method": method, "quant.w_bits": 8, "quant.a_bits": 8}), resources)
        for method in METHODS
    ]
    assert [result.map for result in results] == [100] * 4
    assert [result.fp32_map for result in results] == [100] * 4
    assert all(result.quantized_weights == 100 for result in results)
    assert all(result.logit_mse is not None and 0 < result.logit_mse < 0.1 for result in results)
    table = results_table(results)
    assert table.heading == [
        "tests.bench.tasks.squares:finder on squares: 20 images of 1 classes; float mAP 100.00 %",
        "mAP in % [95 % bootstrap interval over images]",
    ]
    assert list(table.texts["W8A8"]) == ["100.00 [100.00, 100.00]"] * 4
    assert "top-1" not in render(table, "text")
    pairs = compare_methods(recorded_rows(results), Store(outputs).items)
    assert list(pairs["mean_first"]) == [100] * 6
    # Scores differ, and mAP in none of the resamples.
    assert ({*pairs["winner"]}, {*pairs["p"]}) == ({"unresolved"}, {1.0})


def test_fewer_bits_find_less_and_are_compared(squares: Make, outputs: Path) -> None:
    results = [measured(squares({"quant.w_bits": bits, "quant.a_bits": bits})) for bits in (8, 2)]
    assert results[0].map == 100
    assert results[1].map is not None and results[1].map < 100
    pairs = compare_methods(
        recorded_rows(results), Store(outputs).items, parts=("method", "w_bits", "a_bits")
    )
    assert pairs.empty  # bits are conditions
    task, (a, b) = results[0].of_task, [Store(outputs).items(r.id) for r in results]
    assert task.compare([a], [b]).points == pytest.approx(100 - results[1].map)


def test_an_evaluation_comes_out_the_same_at_any_batch_size(squares: Make, outputs: Path) -> None:
    bits = {"quant.w_bits": 3, "quant.a_bits": 3}
    found = []
    for size in (1, 7):
        changes = {"runtime.batch_size": size, "paths.outputs": str(outputs / str(size))}
        result = measured(squares(bits | changes))
        found.append(Store(outputs / str(size)).items(result.id))
    assert found[0].coco == found[1].coco


def test_its_identity_says_the_task(squares: Make) -> None:
    cell = plan(squares())
    assert cell.request.model_identity()["task"] == "detection"
    assert cell.task.name == "detection"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": {"name": "mnist5k", "limit": 20, "subset": None}},
            "mnist5k has labels and no boxes, and the network detects; choose a data set of boxes, "
            "or a network that classifies",
        ),
        (
            {"model": {"name": "resnet20", "weights": "default"}},
            "squares has boxes to be found, and the network classifies; choose a data set of one "
            "label an image, or a network that detects",
        ),
    ],
)
def test_images_of_another_task_are_one_line(
    squares: Make, changes: dict[str, Any], said: str
) -> None:
    result = run_cell(squares(changes)).result
    assert result is not None and result.status == "failed"
    assert (result.reason or "").endswith(said)


def test_a_method_of_another_task_is_one_line(squares: Make) -> None:
    with pytest.raises(BenchError) as error:
        plan(squares({"method": {"name": "dfq", "images": 4}}))
    assert str(error.value) == (
        "method 'dfq' is not for detection, which tests.bench.tasks.squares:finder is of; methods "
        "that distil or take images are, such as gaussian, zeroq, dsg and real"
    )


def test_what_distils_probabilities_of_classes_is_one_line(squares: Make) -> None:
    rounding = {"quant.rounding": "product", "quant.rounding_layer_steps": 5}
    with pytest.raises(BenchError) as error:
        plan(squares(rounding))
    assert str(error.value) == (
        "quant.rounding_layer_steps and quant.rounding_network_steps distil the probabilities of "
        "classes, and tests.bench.tasks.squares:finder detects; give 0 for both"
    )


def test_labels_are_not_drawn_for_a_detector(squares: Make) -> None:
    method = {"name": "dsg", "images": 2, "iterations": 2, "label_weight": 1.0}
    result = run_cell(squares({"method": method})).result
    assert result is not None and result.status == "skipped"
    assert result.reason == "labels are drawn, and the network detects: give method.label_weight=0"
