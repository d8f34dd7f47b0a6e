"""The project's text files are UTF-8 whatever the locale: who opens one says so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each with the position of `encoding` among its arguments.
_METHODS = {"read_text": 0, "write_text": 1, "open": 2, "FileHandler": 2}
_FOREIGN = {
    *("Image", "archive", "av", "hosting", "images_of", "os", "packed", "self", "webbrowser"),
}


def unsaid(source: str) -> Iterator[int]:
    """Yield the line of each call that opens a text file in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id="open"):
                position = 3
            case ast.Attribute(attr=name) if name in _METHODS:
                position = _METHODS[name]
                last = node.func.value
                owner = getattr(last, "id", None) or getattr(last, "attr", None)
                if name == "open" and str(owner).lstrip("_") in _FOREIGN:
                    continue
            case _:
                continue
        said = len(node.args) > position or any(k.arg == "encoding" for k in node.keywords)
        values = [*node.args, *(k.value for k in node.keywords)]
        binary = any(isinstance(v, ast.Constant) and v.value in _BINARY for v in values)
        if not said and not binary:
            yield node.lineno


_BINARY = {"rb", "wb", "ab", "r+b", "xb"}


@pytest.mark.parametrize("package", ["bench", "hydra_plugins", "methods", "models"])
def test_text_files_say_their_encoding(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in unsaid(path.read_text("utf-8"))
    ]
    assert found == []


def test_what_is_found() -> None:
    lines = ["open(a)", "a.open('w')", "a.read_text()", "a.write_text(b)", "a.read_text(errors=b)"]
    assert list(unsaid("\n".join(lines))) == [1, 2, 3, 4, 5]
    fine = ["open(a, 'rb')", "a.open('w', encoding='utf-8')", "a.read_text('utf-8')"]
    assert list(unsaid("\n".join([*fine, "a.write_text(b, 'utf-8')", "Image.open(a)"]))) == []
