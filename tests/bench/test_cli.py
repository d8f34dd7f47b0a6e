"""The help of `bench`."""

import re

import pytest

from bench.cli import _parser


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_each_command_begins_a_line_with_its_help(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = _parser().format_help()
    names = re.findall(r"^ {4}([a-z]+)(?: {2,}\S.*)?$", text, re.MULTILINE)
    with_help = re.findall(r"^ {4}([a-z]+) {2,}\S.*$", text, re.MULTILINE)
    assert names == with_help
    assert {"run", "table", "dashboard", "merge"} <= set(names)
