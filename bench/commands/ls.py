"""`bench ls`: what can be named in a config."""

from argparse import Namespace

from bench.config.files import options
from bench.console import say

_GROUPS = {
    "models": "model",
    "methods": "method",
    "quant": "quant",
    "recipes": "recipe",
    "data": "data",
    "experiments": "experiment",
    "tables": "experiment",  # every experiment has a table of its cells, and so have papers
}


def ls(arguments: Namespace) -> int:
    """Print one name a line, with what it is."""
    names = options(_GROUPS[arguments.what], arguments.config_dir)
    if arguments.what == "methods":
        from methods.registry import METHODS

        names |= {name: f"installed: {path}" for name, path in METHODS.installed().items()}
    if arguments.what == "tables":
        from bench.papers.definition import load_definition, table_names

        names |= {name: load_definition(name).title for name in table_names()}
    width = max(map(len, names), default=0)
    for name, description in sorted(names.items()):
        say(f"{name:<{width}}  {description}".rstrip())
    return 0
