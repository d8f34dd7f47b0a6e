from collections.abc import Callable
from dataclasses import asdict

import pytest

from bench.cells.recipe import Observations, Recipe, recipe_of
from bench.config.schema import Config
from models.zoo import choose_weights, entry
from tests.bench.cells_of import plan

Make = Callable[..., Config]


def test_what_a_data_free_number_depends_on(make_config: Make) -> None:
    cell = plan(make_config({"quant.w_bits": 4, "seed": 3, "data.limit": 100}))
    weights = choose_weights(entry("resnet20"), "default")
    assert weights.published is not None
    recipe = recipe_of(cell, Observations(images=64))
    assert recipe.as_dict() == {
        "weights": {
            "source": "shipped with this project",
            "sha256": weights.sha256,
            "published": asdict(weights.published),
        },
        "preprocessing": weights.preprocessing.as_dict(),
        "quantizer": {
            "w_bits": 4,
            "a_bits": 8,
            "w_scheme": "affine",
            "a_scheme": "affine",
            "w_granularity": "channel",
            "a_granularity": "tensor",
            "w_range": "minmax",
            "a_range": "minmax",
            "sites": "relu",
            "first_bits": None,
            "last_bits": None,
            "fold": False,
            "rounding": "nearest",
        },
        "batchnorm": "not folded, float",
        "biases": "float",
        "method": {
            "name": "zeroq",
            "version": cell.method.version,
            "images": 64,
            "variant": "release",
            "iterations": 500,
            "learning_rate": 0.5,
            "min_learning_rate": 0.0001,
            "patience": 100,
            "epsilon": 1e-6,
        },
        "calibration": {"images": 64},
        "evaluation": {
            "set": "mnist5k",
            "images": 100,
            "classes": 10,
            "fingerprint": cell.listing.fingerprint,
        },
        "seed": 3,
    }


def test_a_precision_other_than_float32_is_named(make_config: Make) -> None:
    half = {"runtime.precision": "bf16"}
    observed = Observations(images=64)
    distilled = recipe_of(plan(make_config(half)), observed).as_dict()
    assert distilled["calibration"] == {"images": 64, "synthesis_precision": "bf16"}
    noise = half | {"method": {"name": "gaussian", "images": 64}}
    recipe = recipe_of(plan(make_config(noise)), observed).as_dict()
    assert recipe["calibration"] == {"images": 64}
    assert "matrix_products" not in recipe
    products = recipe_of(plan(make_config({"runtime.precision": "tf32"}))).as_dict()
    assert products["matrix_products"] == "tf32"


def test_real_calibration_names_its_images(make_config: Make) -> None:
    cell = plan(make_config({"method": {"name": "real", "images": 2}}))
    assert cell.calibration is not None
    recipe = recipe_of(cell, Observations(images=2, indices=[17, 4]))
    assert recipe.as_dict()["calibration"] == {
        "images": 2,
        "set": "mnist5k, training side, 4000 images",
        "fingerprint": cell.calibration.fingerprint,
        "indices": [17, 4],
    }
    assert cell.calibration.fingerprint != cell.listing.fingerprint


@pytest.mark.parametrize("indices", [[], [1]])
def test_a_recipe_holds_its_own_list(make_config: Make, indices: list[int]) -> None:
    cell = plan(make_config({"method": {"name": "real", "images": 2}}))
    recorded = recipe_of(cell, Observations(images=2, indices=indices)).calibration.indices
    assert recorded == indices
    assert recorded is not indices


def test_what_does_not_apply_is_absent_and_an_explicit_null_stays() -> None:
    assert Recipe().as_dict() == {}
    recipe = Recipe.model_validate({"weights": {"sha256": None}, "calibration": {}})
    assert recipe.as_dict() == {"weights": {"sha256": None}, "calibration": {}}
    assert recipe.calibration.images is None and recipe.evaluation.fingerprint is None


def test_keys_of_other_versions_are_kept() -> None:
    values = {"calibration": {"images": 2, "crop": "centre"}, "paper": {"a": [1, None]}}
    assert Recipe.model_validate(values).as_dict() == values
