import pytest

from bench.config.compose import compose
from bench.dashboard.labels import (
    OF_ITS_METHOD,
    bits_order,
    leaves,
    method_labels,
    presets,
    recipe_label,
)
from tests.bench.dashboard.examples import example


def test_presets_are_the_shipped_recipes_the_default_one_first() -> None:
    known = presets()
    assert next(iter(known)) == "zeroq_release"
    assert known["all_inputs"] == known["zeroq_release"] | {"sites": "all"}
    assert not {"w_bits", "a_bits", "mean_bits"} & known["dfq"].keys()
    assert compose([])["quant"].items() >= known["zeroq_release"].items()


@pytest.mark.parametrize(
    ("quantizer", "label"),
    [
        ({}, "default"),
        ({"sites": "all"}, "all_inputs"),
        ({"sites": "all", "a_range": "mse"}, "all_inputs, a_range mse"),
        ({"sites": "all", "w_granularity": "tensor", "fold": True}, "dfq"),
        ({"rounding": "adaround"}, "default, rounding adaround"),
        ({"first_bits": 8}, "default, first_bits 8"),
    ],
)
def test_recipes_are_named_by_the_nearest_preset(quantizer: dict, label: str) -> None:
    assert recipe_label(example("a", quantizer=quantizer), presets()) == label


def test_a_float_cell_has_no_recipe_and_a_trained_one_its_methods() -> None:
    assert recipe_label(example("a", method="float"), presets()) == ""
    trained = example("a", quantizer={"weight_quantizer": "lsq", "first_bits": 8})
    assert recipe_label(trained, presets()) == OF_ITS_METHOD


@pytest.mark.parametrize(
    ("candidates", "label"),
    [([2, 4, 8], "default"), ([4, 8], "default, w_candidates [4, 8]"), (None, "default")],
)
def test_other_candidates_of_mixed_precision_are_another_recipe(
    candidates: list[int] | None, label: str
) -> None:
    said = {} if candidates is None else {"w_candidates": candidates}
    mixed = example("a", w_bits="mixed", quantizer={"mean_bits": 6.0, **said})
    assert recipe_label(mixed, presets()) == label
    assert recipe_label(example("a", quantizer=said), presets()) == "default"  # they mean nothing


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "default, matrix_products tf32"),
        ({"method": "float"}, "matrix_products tf32"),
        ({"quantizer": {"weight_quantizer": "lsq"}}, f"{OF_ITS_METHOD}, matrix_products tf32"),
    ],
)
def test_the_precision_of_matrix_products_is_part_of_a_recipe(changes: dict, label: str) -> None:
    result = example("a", matrix_products="tf32", **changes)
    assert recipe_label(result, presets()) == label


def labels(*cells: dict, contexts: list[int] | None = None) -> list[str]:
    results = [example(str(i), **cell) for i, cell in enumerate(cells)]
    return method_labels(results, contexts or [0] * len(cells), presets())


def test_methods_are_told_apart_by_what_varies() -> None:
    zeroq = {"method": "zeroq", "variant": "release"}
    assert labels({}, {}, zeroq) == ["gaussian", "gaussian", "zeroq (release)"]
    more = [example("0", method="zeroq"), example("1", method="zeroq")]
    method = more[1].recipe.method | {"images": 64}
    recipe = more[1].recipe.model_copy(update={"method": method})
    more[1] = more[1].model_copy(update={"recipe": recipe})
    assert method_labels(more, [0, 0], presets()) == ["zeroq (images 16)", "zeroq (images 64)"]
    assert method_labels(more, [0, 1], presets()) == ["zeroq", "zeroq"]


def test_precision_training_images_and_trained_quantizers_are_part_of_the_label() -> None:
    half = {"calibration": {"synthesis_precision": "bf16"}}
    assert labels({}, half) == ["gaussian", "gaussian (synthesis_precision bf16)"]
    trained = [{"quantizer": {"weight_surrogate": name}} for name in ("ste", "ewgs")]
    assert labels(*trained) == [
        "gaussian (weight_surrogate ste)",
        "gaussian (weight_surrogate ewgs)",
    ]


def test_leaves_of_nested_mappings() -> None:
    assert dict(leaves({"a": 1, "b": {"c": 2, "d": {"e": [3]}}})) == {
        "a": 1,
        "b.c": 2,
        "b.d.e": [3],
    }


def test_few_bits_come_first() -> None:
    assert bits_order(example("a")) == 6  # W4A8
    mixed = {"w_bits": "mixed", "a_bits": 8}
    assert bits_order(example("a", quantizer={"mean_bits": 3.0}, **mixed)) == 5.5
    sized = example("a", quantizer={"size_mb": 0.1}, weight_bits={"a": 2, "b": 4}, **mixed)
    assert bits_order(sized) == 5.5
