"""Listening in on a function while a test runs: what it is called with, or what it logs."""

import logging
from typing import Any

import pytest


def calls_of(patch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """Return a list that gets the positional arguments of each call of `owner`'s `name`.

    The function is called all the same. Of a method the first argument is the object.
    """
    calls: list[tuple[Any, ...]] = []
    function = getattr(owner, name)

    def listening(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return function(*args, **options)

    patch.setattr(owner, name, listening)
    return calls


def lines_of(patch: pytest.MonkeyPatch, logger: str, *levels: str) -> list[str]:
    """Return a list that gets each line that `logger` logs at `levels`, such as "warning".

    The lines go nowhere else, and do not depend on the levels that other tests have left.
    """
    lines: list[str] = []
    for level in levels:
        log = logging.getLogger(logger)
        patch.setattr(log, level, lambda text, *args: lines.append(text % args))
    return lines
