"""Errors in one line."""

import pytest
from pydantic import TypeAdapter, ValidationError

from models.errors import first_line, first_mistake


@pytest.mark.parametrize(
    ("message", "line"), [("", ""), (" \n\n one \ntwo", "one"), ("one", "one")]
)
def test_first_line(message: str, line: str) -> None:
    assert first_line(RuntimeError(message)) == line


def test_first_mistake() -> None:
    adapter = TypeAdapter(dict[str, list[int]])
    with pytest.raises(ValidationError) as error:
        adapter.validate_python({"a": [1, "x", "y"]})
    key, value, message = first_mistake(error.value)
    assert (key, value) == ("a.1", "='x'")
    assert message.startswith("Input should be a valid integer")
