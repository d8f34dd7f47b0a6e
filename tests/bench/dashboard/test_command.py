import shlex

import pytest

from bench.cells.recipe_label import presets
from bench.cells.request import normalised
from bench.config.compose import compose
from bench.config.schema import read_config
from bench.dashboard.command import command
from tests.bench.cells_of import request_id


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "method=gaussian quant.w_bits=3 seed=7",
        "quant=w4a8 recipe=all_inputs quant.a_range=mse method.variant=paper",
        "quant=mixed quant.mean_bits=4 recipe=all_inputs",
        "quant=mixed quant.size_mb=0.1 quant.w_candidates=[2,8] method=real",
        "quant=fp32 model=efficientnet_lite0 data=imagenet data.root=/somewhere data.limit=100",
        "method=dfq recipe=dfq quant.rounding=adaround quant.rounding_rate=0.01",
        "method=dsg method.slack=false data.label=digits data=folder data.root=/x",
        "method=zeroq runtime.precision=bf16",
        "method=joint quant=w4a4 method.qat.delta=0.1",
        "method=haq quant=mixed quant.a_bits=mixed quant.budget={bops:1e9} method.agent.hidden=8",
        "method=autoq quant=mixed quant.mean_bits=3 method.cost_powers={bops:0.5}",
    ],
)
def test_what_is_said_measures_the_same_cell(overrides: str) -> None:
    asked = read_config(compose(overrides.split()))
    said = command(normalised(asked), presets())
    assert said is not None
    words = shlex.split(said)
    assert words[:2] == ["bench", "run"]
    assert request_id(read_config(compose(words[2:]))) == request_id(asked)


def test_it_is_short_and_names_no_folder() -> None:
    asked = ("model=efficientnet_lite0", "data=imagenet", "data.root=/home/someone/images")
    config = normalised(read_config(compose([*asked, "recipe=all_inputs", "quant=w4a8"])))
    assert command(config, presets()) == (
        "bench run model=efficientnet_lite0 data=imagenet method=zeroq recipe=all_inputs "
        "quant.w_bits=4 quant.a_bits=8 data.root=FOLDER"
    )


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (
            "/home/someone/trained/a b.safetensors",
            "'model.weights='\"'\"'FOLDER/a b.safetensors'\"'\"''",
        ),
        ("trained/a.pth", "model.weights=FOLDER/a.pth"),
        ("a.pt", "model.weights=FOLDER/a.pt"),
        ("timm/resnet18.a1_in1k", "model.weights=timm/resnet18.a1_in1k"),
        ("none", "model.weights=none"),
    ],
)
def test_of_a_file_of_weights_only_its_name_is_said(weights: str, said: str) -> None:
    config = normalised(read_config(compose(["quant=w4a8"])))
    own = config.model_copy(update={"model": config.model.model_copy(update={"weights": weights})})
    assert command(own, presets()) == (
        f"bench run model=resnet20 data=mnist5k method=zeroq quant.w_bits=4 quant.a_bits=8 {said}"
    )


def test_what_does_not_ship_has_no_command() -> None:
    config = read_config(compose([]))
    own = config.model_copy(update={"method": {"name": "mine", "images": 16}})
    assert command(own, presets()) is None


def test_odd_values_are_quoted_for_hydra_and_for_the_shell() -> None:
    asked = read_config(compose(["data=folder", "data.root=/x", "data.label='it\\'s, $HOME'"]))
    said = command(normalised(asked), presets())
    assert said is not None
    again = read_config(compose(shlex.split(said)[2:]))
    assert again.data["label"] == asked.data["label"] == "it's, $HOME"
