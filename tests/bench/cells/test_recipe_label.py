import pytest

from bench.cells.recipe_label import OF_ITS_METHOD, presets, recipe_label
from bench.config.compose import compose
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
        ({}, "zeroq_release"),
        ({"sites": "all"}, "all_inputs"),
        ({"sites": "all", "a_range": "mse"}, "all_inputs, a_range mse"),
        ({"sites": "all", "w_granularity": "tensor", "fold": True}, "dfq"),
        ({"rounding": "adaround"}, "zeroq_release, rounding adaround"),
        ({"first_bits": 8}, "zeroq_release, first_bits 8"),
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
    [
        ([2, 4, 8], "zeroq_release"),
        ([4, 8], "zeroq_release, w_candidates [4, 8]"),
        (None, "zeroq_release"),
    ],
)
def test_other_candidates_of_mixed_precision_are_another_recipe(
    candidates: list[int] | None, label: str
) -> None:
    said = {} if candidates is None else {"w_candidates": candidates}
    mixed = example("a", w_bits="mixed", quantizer={"mean_bits": 6.0, **said})
    assert recipe_label(mixed, presets()) == label
    assert (
        recipe_label(example("a", quantizer=said), presets()) == "zeroq_release"
    )  # they mean nothing


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "zeroq_release, matrix_products tf32"),
        ({"method": "float"}, "matrix_products tf32"),
        ({"quantizer": {"weight_quantizer": "lsq"}}, f"{OF_ITS_METHOD}, matrix_products tf32"),
    ],
)
def test_the_precision_of_matrix_products_is_part_of_a_recipe(changes: dict, label: str) -> None:
    result = example("a", matrix_products="tf32", **changes)
    assert recipe_label(result, presets()) == label


def test_every_preset_is_called_by_its_own_name() -> None:
    known = presets()
    for name in known:
        quantizer = compose([f"recipe={name}"])["quant"]
        assert recipe_label(example("a", quantizer=quantizer), known) == name
