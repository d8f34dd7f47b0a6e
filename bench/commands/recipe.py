"""`bench recipe`: one recipe as a card, or where two differ."""

from argparse import Namespace
from typing import Any

from bench.cells.store import Store
from bench.config.compose import compose
from bench.config.experiments import outputs_of
from bench.config.files import options
from bench.console import say

_ABSENT = "-"


def recipe(arguments: Namespace) -> int:
    """Print the recipe of a cell or of a preset; of two, only the lines that differ.

    Returns 0, and with two recipes 1 when they differ.

    Raises BenchError when a name is neither a preset nor the beginning of one cell's id.
    """
    if arguments.second and "=" in arguments.second:  # argparse cannot tell an override from an id
        arguments.overrides.append(arguments.second)
        arguments.second = None
    names = (arguments.first, arguments.second)
    cards = [flat(_find(name, arguments)) for name in names if name is not None]
    if len(cards) == 1:
        _say_rows([(key, value) for key, value in cards[0].items()])
        return 0
    rows = differing_rows(*cards)
    if not rows:
        say("the same recipe")
        return 0
    _say_rows([("", arguments.first, arguments.second), *rows])
    return 1


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested `values` as one level, keys joined by dots and values as text."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[prefix + key] = str(value)
    return rows


def differing_rows(first: dict[str, str], second: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return (key, value in first, value in second) where they differ, in order of appearance."""
    keys = dict.fromkeys([*first, *second])
    rows = [(key, first.get(key, _ABSENT), second.get(key, _ABSENT)) for key in keys]
    return [row for row in rows if row[1] != row[2]]


def _find(name: str, arguments: Namespace) -> dict[str, Any]:
    if name in options("recipe", arguments.config_dir):
        quantizer = compose([f"recipe={name}"], arguments.config_dir)["quant"]
        return {k: v for k, v in quantizer.items() if k not in ("w_bits", "a_bits")}
    return Store(outputs_of(arguments.overrides)).find(name).recipe.as_dict()


def _say_rows(rows: list[Any]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        say("  ".join([*cells, row[-1]]).rstrip())
