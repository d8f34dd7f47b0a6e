import sys

import pytest

from bench.peers.base import Tool, Way
from bench.peers.registry import NAMES, check_installed, tool, version_of
from models.errors import BenchError
from tests.test_imports import imported


def made(name: str, module: str) -> Tool:
    way = Way("PTQ", lambda network, images, w_bits, a_bits: network)
    return Tool(name, (name,), (module,), (way,), "")


def test_the_tools_and_their_ways() -> None:
    ways = {name: [way.name for way in tool(name).ways] for name in NAMES}
    assert list(ways) == ["ours", "brevitas", "mct", "nncf"]
    assert all(len(names) == len(set(names)) > 0 for names in ways.values())
    tools = [tool(name).name for name in NAMES]
    assert len(set(tools)) == 4


def test_an_unknown_tool() -> None:
    with pytest.raises(BenchError, match=r"unknown tool 'brevitass'; .*brevitas"):
        tool("brevitass")


def test_what_is_not_installed_is_one_line_with_the_extra() -> None:
    missing = [made("one", "no_such_one"), made("here", "json"), made("two", "no_such_two")]
    with pytest.raises(BenchError) as raised:
        check_installed(missing)
    said = str(raised.value)
    assert said.startswith("one and two are not installed: run `make bench-peers`, or pip install")
    assert "'quantization-bench[peers]'" in said
    assert "\n" not in said
    check_installed([made("here", "json")])
    assert version_of(made("one", "no_such_one")) == "unknown"


@pytest.mark.thorough
def test_listing_the_tools_imports_none_of_them() -> None:
    code = "from bench.peers.registry import NAMES, tool\nfor name in NAMES: tool(name)"
    others = ("brevitas", "brevitas_examples", "nncf", "model_compression_toolkit")
    assert not imported(code, also=others) & set(others)
    assert not set(others) & sys.modules.keys()
