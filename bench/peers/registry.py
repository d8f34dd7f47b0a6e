"""Which tools there are, and whether they are installed."""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from bench.peers.base import Tool
from models.errors import BenchError
from models.registry import did_you_mean

_MODULES = {
    "float": "bench.peers.floating",
    "ours": "bench.peers.ours",
    "brevitas": "bench.peers.brevitas",
    "mct": "bench.peers.mct",
    "nncf": "bench.peers.nncf",
}

NAMES = tuple(name for name in _MODULES if name != "float")
"""As `--only` takes them, in the order of the table."""


def tool(name: str) -> Tool:
    """Return the tool that goes by `name`; it is not imported.

    Raises BenchError where there is none of that name.
    """
    if name not in _MODULES:
        raise BenchError(f"unknown tool {name!r}; {did_you_mean(name, _MODULES)}")
    found: Tool = import_module(_MODULES[name]).TOOL
    return found


def version_of(found: Tool) -> str:
    """Return the installed version of a tool, `unknown` where it does not say."""
    try:
        return version(found.packages[0])
    except PackageNotFoundError:
        return "unknown"


def check_installed(tools: Sequence[Tool]) -> None:
    """Raise BenchError, in one line, where a tool is not installed."""
    missing = [
        each.packages[0] for each in tools if any(find_spec(name) is None for name in each.modules)
    ]
    if missing:
        raise BenchError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: run "
            "`make bench-peers`, or pip install 'quantization-bench[peers]' into an environment "
            "of its own, or leave tools out with --only ours"
        )
