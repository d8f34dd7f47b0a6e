from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from bench.config.compose import Configs, compose, compose_training, compose_with_hydra
from bench.config.experiments import typed_jobs
from bench.config.files import options
from bench.config.schema import read_config
from bench.config.words import as_hydra_reads
from models.errors import BenchError


def test_the_default_cell_composes() -> None:
    composed = compose([])
    assert composed["model"]["name"] == "resnet20"
    assert composed["quant"]["w_bits"] == composed["quant"]["a_bits"] == 8
    assert "hydra" not in composed


def test_activations_follow_the_weights_unless_said() -> None:
    assert compose(["quant.w_bits=3"])["quant"]["a_bits"] == 3
    assert compose(["quant=w4a8"])["quant"]["a_bits"] == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=resnet21", "unknown model 'resnet21'; did you mean 'resnet20'?"),
        ("method=gausian", "unknown method 'gausian'; did you mean 'gaussian'?"),
        ("recipe=all_input", "unknown recipe 'all_input'; did you mean 'all_inputs'?"),
        ("quant.w_bit=4", "unknown config value 'quant.w_bit'; did you mean 'quant.w_bits'?"),
        ("sed=1", "unknown config value 'sed'; did you mean 'seed'?"),
    ],
)
def test_what_does_not_exist(override: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        compose([override])
    assert str(error.value) == message


@pytest.mark.parametrize("override", ["foo", "quant={", "seed=", "nogroup=a", "seed=,"])
def test_nonsense_is_one_line_or_a_null(override: str) -> None:
    try:
        compose([override])
    except BenchError as error:
        assert str(error)
        assert "\n" not in str(error)


def test_composing_leaves_hydra_as_it_was(make_config: Callable[..., object]) -> None:
    compose_with_hydra([])
    with pytest.raises(BenchError):
        compose(["model=nope"])
    assert not GlobalHydra.instance().is_initialized()
    assert make_config()


def test_what_only_hydra_can_read_composes_alike() -> None:
    overrides = ["method=zeroq", "quant=mixed", "quant.w_candidates=[2, 4]"]
    configs = Configs()
    assert configs.plain(overrides) is None
    assert configs.plain(overrides[:2]) == compose_with_hydra(overrides[:2])
    composed = configs.compose(overrides)
    assert composed["method"]["name"] == "zeroq"
    assert composed["quant"].pop("w_candidates") == [2, 4]


def test_limits_of_a_budget_may_be_given_one_by_one() -> None:
    words = ["quant=mixed", "quant.budget.bops=1e9", "quant.budget.mean_bits=3"]
    assert compose(map(as_hydra_reads, words))["quant"]["budget"] == {"bops": 1e9, "mean_bits": 3}


def test_what_is_missing_or_refers_to_nothing_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    for name, value in (("missing", "???"), ("lost", "${nowhere}")):
        (tmp_path / "method" / f"{name}.yaml").write_text(f"name: gaussian\nimages: {value}\n")
        with pytest.raises(BenchError) as error:
            compose([f"method={name}"], tmp_path)
        assert "\n" not in str(error.value)
        assert "images" in str(error.value)
    assert str(error.value) == "method.images is set to that of 'nowhere', which there is not"


@pytest.mark.parametrize("name", options("experiment"))
def test_no_experiment_is_at_a_loss_for_words_in_float(name: str) -> None:
    """Its method may have nothing to do there; what it says of bits may refer to none."""
    try:
        jobs = typed_jobs([f"experiment={name}", "quant=fp32"], multirun=False)
    except BenchError as error:
        assert str(error) == (
            "quant.budget.mean_activation_bits is set to that of quant.mean_bits, which the chosen "
            "quant has not; choose another"
        )
        assert name.startswith("mixed_step_range_")
    else:
        assert all(read_config(tree).quant.w_bits == 32 for _, tree in jobs)


def test_a_training_has_a_config_of_its_own() -> None:
    composed = compose_training(["train.epochs=3", "seed=2"])
    assert (composed["train"]["epochs"], composed["seed"]) == (3, 2)
    assert "method" not in composed
