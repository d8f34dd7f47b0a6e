from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cells.recipe_label import presets
from bench.dashboard.configuration import Configuration, read_configuration
from tests.bench.dashboard.examples import config_of


def asked(folder: Path, said: Any) -> Configuration:
    text = said if isinstance(said, str) else yaml.safe_dump(said)
    (folder / "config.yaml").write_text(text)
    return read_configuration(folder, presets())


def test_a_configuration_has_its_data_and_its_command(tmp_path: Path) -> None:
    said = asked(tmp_path, config_of("method=real", "quant=w4a8", "data.limit=10"))
    assert said.command == (
        "bench run model=resnet20 data=mnist5k method=real quant.w_bits=4 quant.a_bits=8 "
        "data.limit=10"
    )
    assert said.data == {"name": "mnist5k", "limit": 10, "subset": None}
    assert said.warning is None


def test_without_one_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert read_configuration(tmp_path, presets()) == Configuration()


def test_what_does_not_ship_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    config = config_of("data.limit=10") | {"method": {"name": "mine"}}
    assert asked(tmp_path, config) == Configuration(config["data"])


@pytest.mark.parametrize(
    ("group", "key", "value", "why"),
    [
        ("quant", "w_candidates", 5, ""),
        ("quant", "rounding_iterations", "many", ""),
        ("quant", "w_bits", [4], "quant.w_bits=[4]"),
        ("data", "name", ["mnist5k"], "unhashable type: 'list'"),
        ("runtime", "workers", "x", "config runtime.workers='x'"),
    ],
)
def test_values_of_a_wrong_type_are_one_line(
    tmp_path: Path, group: str, key: str, value: Any, why: str
) -> None:
    config = config_of("data.limit=10")
    config = config | {group: config[group] | {key: value}}
    said = asked(tmp_path, config)
    assert (said.command, said.data) == (None, config["data"])
    assert said.warning is not None
    start = f"{tmp_path}/config.yaml names no cell, so there is no command for it: "
    assert said.warning.startswith(start)
    assert why in said.warning.removeprefix(start)
    assert "\n" not in said.warning


@pytest.mark.parametrize("text", ["- no\n- config", "", "a: [", "\0", "a: &a {b: *a}"])
def test_what_is_no_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    said = asked(tmp_path, text)
    assert (said.data, said.command) == (None, None)
    assert said.warning is not None
    assert "names no cell" in said.warning
    assert "\n" not in said.warning
