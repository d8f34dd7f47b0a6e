"""docs/values.md names every value that there is, with its default, and no other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from bench.config.files import options
from bench.config.plain import Composer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "values.md").read_text()
METHODS = options("method")

_CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """What the page says of a value; `methods` are those its section is about, if about some."""

    methods: set[str]
    key: str
    cells: list[str]


def rows() -> Iterator[Row]:
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE):
        methods = {*_CODE.findall(section.partition("\n")[0])} & {*METHODS}
        for row in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
            keys, *cells = re.split(r" ?(?<!\\)\| ?", row)  # \| is a bar in a cell
            if len(cells) > 1:  # recipes have one
                yield from (Row(methods, key, cells) for key in _CODE.findall(keys))


ROWS = list(rows())


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key of each value and the value, as a command line has it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        elif f"{above}{key}" != "method.name":  # in the headings
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize(
    "override",
    [
        *(f"method={name}" for name in METHODS),
        *(f"data={name}" for name in options("data")),
        *(f"tracking={name}" for name in options("tracking")),
        "quant=mixed",
    ],
)
def test_every_value_is_there_with_its_default(override: str) -> None:
    group, _, chosen = override.partition("=")
    method = chosen if group == "method" else "zeroq"
    for key, default in leaves(Composer().compose([override])):
        told = [row for row in ROWS if row.key == key and method in (row.methods or {method})]
        assert len(told) == 1, key
        defaults, allowed, *_ = told[0].cells
        assert default in _CODE.findall(allowed if key == "data.name" else defaults), key


def test_no_value_is_there_that_does_not_exist() -> None:
    composer = Composer()
    chosen = [*(f"method={name}" for name in METHODS), *(f"data={d}" for d in options("data"))]
    composed = [composer.compose([override]) for override in [*chosen, "quant=mixed"]]
    assert {row.key for row in ROWS} == {key for each in composed for key, _ in leaves(each)}


def test_training_float_weights_has_the_same_values_with_its_own_defaults() -> None:
    own = yaml.safe_load((ROOT / "conf" / "train" / "default.yaml").read_text())
    schedule = "method.schedule."
    told = {row.key: row.cells[1] for row in ROWS if row.key.startswith(schedule)}
    assert told == {key: f"`{default}`" for key, default in leaves(own, schedule)}


def test_recipes_are_there_with_what_they_change() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|$", PAGE, re.MULTILINE))
    composer = Composer()
    release = composer.compose(["recipe=zeroq_release"])["quant"]
    assert told.keys() == {*options("recipe")}
    for name, text in told.items():
        quant = composer.compose([f"recipe={name}"])["quant"]
        changed = {key: value for key, value in leaves(quant) if quant[key] != release[key]}
        assert dict(re.findall(r"(\w+)=([\w.-]+)", text)) == changed
