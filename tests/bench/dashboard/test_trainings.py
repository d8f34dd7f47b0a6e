"""The course of a training as a page shows it."""

import math
from typing import Any

import pytest

from bench.dashboard.trainings import training_course

SIZES = "weights, MiB"
SAID: dict[str, Any] = {
    "key": "k",
    "epochs": [
        {"epoch": 1, "loss": 2.0, "curves": {SIZES: [4.0, 3.0]}, "targets": {SIZES: 2.5}},
        {"epoch": 2, "loss": 1.0, "curves": {SIZES: [2.75, 2.5]}, "targets": {SIZES: 2.5}},
    ],
}
GATED = {"a": {"weight": {"4": 1.0, "8": 0.25}, "input": {"4": 0.5}, "channels": 0.75}}


def test_the_loss_and_the_curves_with_their_targets() -> None:
    assert training_course(SAID) == {
        "panels": [
            {"title": "loss", "lines": [["", [[1.0, 2.0], [2.0, 1.0]]]], "targets": []},
            {
                "title": SIZES,
                "lines": [["", [[0.5, 4.0], [1.0, 3.0], [1.5, 2.75], [2.0, 2.5]]]],
                "targets": [2.5],
            },
        ]
    }


def test_curves_of_one_title_are_lines_of_one_panel() -> None:
    curves = {"open/weight 4": [1.0], "open/input 4": [0.5], "prior": [8.0]}
    shown = training_course({"epochs": [{"epoch": 1, "loss": 1.0, "curves": curves}]})
    assert shown is not None
    lines = {panel["title"]: panel["lines"] for panel in shown["panels"]}
    assert lines["open"] == [["weight 4", [[1.0, 1.0]]], ["input 4", [[1.0, 0.5]]]]
    assert lines["prior"] == [["", [[1.0, 8.0]]]]


def test_gates_are_those_of_the_last_epoch_that_trained_them() -> None:
    first = {"epoch": 1, "loss": 2.0, "gates": {"a": {"weight": {"4": 0.9}}}}
    epochs = [first, {"epoch": 2, "loss": 1.0, "gates": GATED}, {"epoch": 3, "loss": 0.5}]
    shown = training_course({"epochs": epochs})
    assert shown is not None
    named = {"weight 4": 1.0, "weight 8": 0.25, "input 4": 0.5, "channels": 0.75}
    assert shown["gates"] == [["a", named]]


def test_few_points_of_many_and_none_that_is_not_finite() -> None:
    epochs = [{"epoch": e, "loss": 1 / e} for e in range(1, 1001)]
    epochs[3]["loss"] = math.inf
    shown = training_course({"epochs": epochs})
    assert shown is not None
    ((_, points),) = shown["panels"][0]["lines"]
    assert (len(points), points[0], points[-1]) == (120, [1.0, 1.0], [1000.0, 0.001])
    assert all(math.isfinite(value) for _, value in points)


@pytest.mark.parametrize(
    "said", [None, {}, {"epochs": [{"epoch": 1}]}, {"epochs": [{"epoch": 1, "loss": "text"}]}]
)
def test_another_file_is_none(said: dict[str, Any] | None) -> None:
    assert training_course(said) is None


def test_a_curve_without_values_has_no_panel() -> None:
    shown = training_course({"epochs": [{"epoch": 1, "loss": 1.0, "curves": {"prior": []}}]})
    assert shown is not None and [p["title"] for p in shown["panels"]] == ["loss"]
