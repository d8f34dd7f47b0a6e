from typing import Any

import numpy as np
import pytest

from bench.cells.result import Result
from bench.dashboard.papers import paper_differences
from bench.papers.published import Published
from tests.bench.dashboard.examples import example


def published(value: float, **changes: Any) -> Published:
    known: dict[str, Any] = {
        **{"paper": "zeroq", "table": "Table 1", "row": "ZeroQ", "model": "resnet18"},
        **{"data": "imagenet", "method": "zeroq", "w_bits": 4, "a_bits": 8},
        **{"value": value, "kind": "paper", "source": "the paper"},
    }
    return Published(**(known | changes))


def measured(mean: float, total: int = 50_000, **changes: Any) -> tuple[list, dict[str, Result]]:
    right = np.zeros(total, dtype=bool)
    known = {"model": "resnet18", "data": "imagenet", "method": "zeroq", "weights": "pytorchcv"}
    result = example("a" * 16, right, **(known | changes))
    return [{"cells": [result.id], "mean": mean}], {result.id: result}


def test_measured_minus_published_by_hand() -> None:
    said = paper_differences(*measured(69.5), [published(71.0), published(70.0)])
    assert [d["points"] for d in said["differences"]] == [-1.5, -0.5]
    assert [d["value"] for d in said["differences"]] == [71.0, 70.0]
    assert said["differences"][0]["group"] == 0
    assert (said["printed"], said["part"]) == (2, 0)


def test_known_differences_of_the_recipes_are_named() -> None:
    recipe = {"images": 64, "sites": "relu", "iterations": "unknown"}
    (one,) = paper_differences(*measured(69.5), [published(71.0, recipe=recipe)])["differences"]
    assert one["differs"] == ["images 16, there 64"]
    assert {"weights", "iterations", "a_range"} <= set(one["unknown"])


def test_another_float_network_is_a_difference() -> None:
    floats = published(71.47, method="float", w_bits=32, a_bits=32)
    said = paper_differences(*measured(69.5, fp32_top1=73.0), [published(71.0), floats])
    assert said["differences"][0]["differs"] == ["float top-1 73.00, there 71.47"]


def test_a_recalled_number_is_never_shown() -> None:
    said = paper_differences(*measured(69.5), [published(71.0, kind="recalled")])
    assert said == {"differences": [], "printed": 0, "part": 0}


@pytest.mark.parametrize(
    "changes",
    [
        *({"model": "resnet50"}, {"method": "dsg"}, {"w_bits": 8}, {"a_bits": 4}),
        *({"data": "cifar10"}, {"w_bits": None}, {"w_bits": "mixed"}),
        {"w_bits": "mixed", "recipe": {"size_mb": 5.0}},
    ],
)
def test_other_labels_are_not_compared(changes: dict[str, Any]) -> None:
    said = paper_differences(*measured(69.5), [published(71.0, **changes)])
    assert (said["differences"], said["printed"], said["part"]) == ([], 1, 0)


def test_mixed_precision_is_compared_at_equal_size() -> None:
    mixed = {"w_bits": "mixed", "quantizer": {"w_bits": "mixed", "size_mb": 5.0}}
    number = published(71.0, w_bits="mixed", recipe={"size_mb": 5.0})
    assert len(paper_differences(*measured(69.5, **mixed), [number])["differences"]) == 1


def test_other_metrics_are_not_compared() -> None:
    said = paper_differences(*measured(69.5), [published(90.0, metric="top5")])
    assert said == {"differences": [], "printed": 0, "part": 0}


def test_a_part_of_the_images_is_not_the_set_that_papers_mean() -> None:
    said = paper_differences(*measured(69.5, total=1_000), [published(71.0)])
    assert said == {"differences": [], "printed": 1, "part": 1}
    own = paper_differences(*measured(69.5, 1_000, data="own"), [published(71.0, data="own")])
    assert len(own["differences"]) == 1


def test_a_record_without_a_recipe_is_not_compared() -> None:
    said = paper_differences(*measured(69.5, recipe={}), [published(71.0)])
    assert said["differences"] == []
