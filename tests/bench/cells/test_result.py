import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from bench.cells.result import Result, writable
from bench.config.schema import Config
from tests.bench.cells_of import run_cell

SCHEMA = Path(__file__).parents[3] / "docs" / "result.schema.json"
REGENERATE = (
    'python -c "import json; from bench.cells.result import Result, writable; '
    'print(json.dumps(Result.model_json_schema(), indent=1))" > docs/result.schema.json'
)


def schema() -> dict[str, Any]:
    return json.loads(SCHEMA.read_text())


def test_the_schema_in_the_docs_is_the_class() -> None:
    assert schema() == Result.model_json_schema(), REGENERATE


@pytest.mark.parametrize("bits", [8, 32])
def test_a_measured_record_validates(
    make_fast: Callable[..., Config], outputs: Path, bits: int
) -> None:
    outcome = run_cell(make_fast({"quant.w_bits": bits, "quant.a_bits": bits}))
    text = (outputs / "cells" / outcome.id / "result.json").read_text()
    jsonschema.validate(json.loads(text), schema())
    assert outcome.result is not None
    read = Result.model_validate_json(text)
    assert read.model_dump(mode="json") == outcome.result.model_dump(mode="json")
    assert read.checksum is not None and read.correct_sha256 is not None


def test_a_key_too_many_or_too_few_is_refused(make_result: Callable[..., Result]) -> None:
    record = make_result().model_dump(mode="json")
    for wrong in (record | {"top_1": 1.0}, record | {"schema_version": 1}):
        with pytest.raises(ValidationError):
            Result.model_validate(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema())
    del record["weights_sha256"]
    with pytest.raises(jsonschema.ValidationError, match="'weights_sha256' is a required property"):
        jsonschema.validate(record, schema())


def test_label(make_result: Callable[..., Result]) -> None:
    assert make_result().label == "resnet20 mnist5k gaussian W4A8 seed 1"


def test_names_that_are_no_utf_8_can_be_written(make_result: Callable[..., Result]) -> None:
    name = b"b\xff.png".decode("utf-8", "surrogateescape")
    plain = make_result(warnings=["größe"])
    assert writable(dict(plain)) == dict(plain)
    recipe = plain.recipe.model_copy(update={"batchnorm": name})
    values = writable(dict(plain) | {"data": name, "recipe": recipe, "warnings": [f"no {name}"]})
    result = Result(**values)
    assert (result.data, result.recipe.batchnorm) == ("b\ufffd.png", "b\ufffd.png")
    assert json.loads(result.model_dump_json())["warnings"] == ["no b\ufffd.png"]
