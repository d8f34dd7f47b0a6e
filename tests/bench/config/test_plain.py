"""What is composed without Hydra is what Hydra composes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.config.compose import Configs, compose_with_hydra
from bench.config.experiments import experiment_jobs
from bench.config.files import options
from bench.config.plain import Composer, NotPlain


def by_hydra(overrides: Sequence[str], own: Path | None = None) -> str:
    return json.dumps(compose_with_hydra(overrides, own))


def composed(overrides: Sequence[str], own: Path | None = None) -> str:
    """As text, because tables list parameters in the order of the configs."""
    return json.dumps(Composer(own).compose(overrides))


@pytest.mark.thorough
@pytest.mark.parametrize("name", options("experiment"))
def test_a_cell_of_every_experiment(name: str) -> None:
    last = experiment_jobs(name)[-1].overrides  # Hydra takes a tenth of a second for each
    assert composed(last) == by_hydra(last)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["quant=w4a8"],
        ["quant.w_bits=3"],
        ["quant=mp3a8", "recipe=deploy"],
        ["recipe=integer_only", "quant.fold=false", "quant.first_bits=8"],
        ["method=dsg", "method.slack=true", "method.learning_rate=0.25", "seed=4"],
        ["data=imagenet", "data.root=/data/images", "paths.outputs=../there", "tracking=none"],
        ["experiment=demo", "model=efficientnet_lite0", "method.images=null"],
        ["data=imagenet", "data.root=/my images/a+b"],
        ["method=coquant", "quant=w2a2"],
        ["quant=mixed", "quant.budget={mean_bits:3,bops:2.5}", "quant.w_candidates=[2,4]"],
        ["method=dq", "qat@method.qat=step_range", "schedule@method.schedule=cifar10", "seed=1"],
        ["method=zeroq", "method=real", "quant.w_bits=8", "quant.w_bits=4"],
    ],
    ids=" ".join,
)
def test_overrides(overrides: list[str]) -> None:
    assert composed(overrides) == by_hydra(overrides)


@pytest.mark.parametrize(
    "override",
    [
        *("method=nope", "nope=1", "quant.nope=1", "+quant.nope=1", "~quant.sites", "quant=1"),
        *("method=[real,dsg]", "quant.w_candidates=[2,4]", "method.learning_rate=1e-3"),
        *("seed='1'", "data.root=${oc.env:HOME}", "seed.x=1", "quant.a_bits=${.w_bits}"),
        *("qat@method.qat=adabits", "qat@method.nope=adabits", "qat=adabits", "+qat@x=adabits"),
        *("hydra/launcher=joblib", "hydra.verbose=true", "tracking.tags=[a]", "method"),
    ],
)
def test_what_is_not_plain_is_left_to_hydra(override: str) -> None:
    with pytest.raises(NotPlain):
        Composer().compose([override])


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, "method/mine", "# mine\ndefaults:\n  - zeroq\n  - _self_\niterations: 7\n")
    write(tmp_path, "method/first", "defaults:\n  - _self_\n  - zeroq\niterations: 7\n")
    write(
        tmp_path,
        "experiment/mine",
        "# @package _global_\ndefaults:\n  - override /method: mine\nquant:\n  sites: all\n",
    )
    replaced = "defaults:\n  - individual\n  - override /schedule@schedule: cifar10\n  - _self_\n"
    write(tmp_path, "method/longer", replaced)
    for overrides in (
        ["experiment=mine"],
        ["method=first"],
        ["experiment=mine", "quant=w4a4"],
        ["method=longer"],
        ["method=longer", "schedule@method.schedule=imagenet"],
    ):
        assert composed(overrides, tmp_path) == by_hydra(overrides, tmp_path)
    composer = Composer(tmp_path)
    assert composer.compose(["experiment=mine"])["method"]["iterations"] == 7
    assert composer.compose(["method=first"])["method"]["iterations"] == 500


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate: 1e-3\n",  # text for YAML, a number for OmegaConf
        "day: 2001-01-01\n",
        "rate: ${oc.env:HOME}\n",
        "rate: a${seed}\n",
        "rate: ???\n",
        "rate: ${nowhere}\n",
        "# @package a.b\nx: 1\n",
        "defaults:\n  - /quant: w4a4\n",
        "[1]\n",
        "a: [\n",
    ],
)
def test_files_that_are_not_plain(tmp_path: Path, text: str) -> None:
    write(tmp_path, "method/mine", text)
    with pytest.raises(NotPlain):
        Composer(tmp_path).compose(["method=mine"])


@pytest.mark.parametrize("experiment", ["demo", "zeroq_mixed"])  # with params and with grids
def test_the_sweep_of_an_experiment(experiment: str) -> None:
    plain = Composer().sweep(experiment)
    # A word that changes nothing, but is Hydra's.
    hydra = Configs().sweep([f"experiment={experiment}", "hydra.verbose=false"])
    assert plain.always == hydra.always is True
    for part in ("params", "grids"):
        assert (plain.sweeper.get(part) or {}) == (hydra.sweeper.get(part) or {})


@pytest.mark.parametrize(
    "text",
    [
        "hydra:\n  sweeper:\n    n_trials: 3\n",
        "hydra:\n  mode: ${seed}\n",
        "hydra:\n  verbose: true\n",
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: basic\n",
        "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\n",
    ],
)
def test_an_experiment_that_says_more_than_its_grid(tmp_path: Path, text: str) -> None:
    write(tmp_path, "experiment/mine", text)
    with pytest.raises(NotPlain):
        Composer(tmp_path).sweep("mine")


def test_without_an_experiment_nothing_is_said_of_a_sweep() -> None:
    assert Configs().sweep(["quant.w_bits=8,4"]) == (False, {})
    assert Configs().sweep(["hydra.mode=MULTIRUN"]).always
