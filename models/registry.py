"""Names to objects, imported when first asked for."""

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from models.errors import BenchError

T = TypeVar("T")

_LISTED = 40  # names in a line: as many as there are methods, and not the thousand of timm


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return the tail of an error line: the closest of `options`, or at most 40 of them."""
    names = sorted(options)
    lower = {option.lower(): option for option in names}
    longer = [option for option in lower if len(name) > 1 and option.startswith(name.lower())]
    close = sorted(longer, key=len) or difflib.get_close_matches(name.lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]!r}?"
    return (
        "choose one of: " + ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    )


def import_attribute(path: str) -> object:
    """Import `package.module:attribute`.

    Raises BenchError when the module or the attribute does not exist.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise BenchError(f"{path!r} is no place in a module; give it as package.module:attribute")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        hint = _hidden(error.name or module_name) or f"{error}; is it installed?"
        raise BenchError(f"cannot import {path!r}: {hint}") from error
    except AttributeError as error:
        if hidden := _hidden(module_name):
            raise BenchError(f"cannot import {path!r}: {hidden}") from error
        options = did_you_mean(attribute, vars(importlib.import_module(module_name)))
        raise BenchError(f"{module_name!r} has no {attribute!r}; {options}") from error


def namesake(module_name: str) -> Path | None:
    """Return a module or package on the import path that one of this project's packages hides."""
    top = module_name.partition(".")[0]
    if top not in ("bench", "methods", "models"):
        return None
    project = Path(__file__).resolve().parents[1]
    places = (Path(folder, name) for folder in sys.path for name in (f"{top}.py", top))
    return next((p for p in places if p.exists() and p.resolve().parent != project), None)


def _hidden(module_name: str) -> str | None:
    path = namesake(module_name)
    return f"{path} has the name of one of this project's packages; rename it" if path else None


# Finding them reads the metadata of every installed package, 10 ms or more.
@lru_cache(maxsize=16)
def _entry_points(group: str, import_path: object) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def _import_path() -> tuple[tuple[str, int], ...]:
    """Return the folders of the import path and when their content last changed."""
    folders = []
    for folder in sys.path:
        try:
            folders.append((folder, os.stat(folder or ".").st_mtime_ns))  # noqa: PTH116
        except OSError:
            folders.append((folder, 0))
    return tuple(folders)


class Registry(Generic[T]):
    """Built-in objects as lazy `module:attribute` strings, and installed ones by entry point.

    `kind` is the word used in error messages. Any `module:attribute` string is a valid name too,
    which is how an object that is not packaged at all is used.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], entry_point_group: str | None = None):
        self.kind = kind
        self.builtin = dict(builtin)
        self._group = entry_point_group

    def installed(self) -> dict[str, str]:
        """Return name to `module:attribute` of what installed packages add by entry point."""
        if self._group is None:
            return {}
        return dict(_entry_points(self._group, _import_path()))

    def paths(self) -> dict[str, str]:
        """Return name to `module:attribute`; nothing is imported.

        Raises BenchError when an installed package claims the name of a built-in.
        """
        installed = self.installed()
        for name in sorted(installed.keys() & self.builtin.keys()):
            raise BenchError(
                f"{self.kind} {name!r} is claimed by {self.builtin[name]} and by the installed "
                f"{installed[name]}; rename the entry point in {self._group!r}"
            )
        return {**self.builtin, **installed}

    def names(self) -> list[str]:
        return sorted(self.paths())

    def get(self, name: str) -> T:
        """Import and return the object called `name`.

        Raises BenchError, with the closest known name, when there is none.
        """
        paths = self.paths()
        if name not in paths and ":" not in name:
            raise BenchError(f"unknown {self.kind} {name!r}; {did_you_mean(name, paths)}")
        return import_attribute(paths.get(name, name))  # type: ignore[return-value]
