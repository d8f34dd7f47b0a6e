"""Compose the configs of cells as Hydra does, where they are plain, in a thousandth of its time.

Tables and `bench status` name thousands of cells. Plain is: options that are files, with options
of their own group, or of another one at a key of theirs, for defaults; an experiment that overrides
groups and values; `key=value` of a known key; `${a.b}` and `${.b}` as whole values. The rest is
left to Hydra, as are mistakes, for which it has the words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.config.files import config_folder
from bench.config.grids import numbers_in, written
from bench.files.yaml_files import parse_yaml

_Tree = dict[str, Any]
_Path = tuple[str, ...]

_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)\s*$", re.MULTILINE)
_NESTED = re.compile(r"/(\w+)@(\w+)")
_REFERENCE = re.compile(r"\$\{(\.?)([\w.]+)\}")
_MISSING = "???"  # of a value that has to be given
_WORDS = {"null": None, "True": True, "False": False}


class NotPlain(Exception):
    """Only Hydra knows what this means."""


class _File(NamedTuple):
    """A config file: its package, None without one, its defaults list and the rest."""

    package: str | None
    defaults: list[Any]
    content: _Tree


class _Composed(NamedTuple):
    """What files compose to, and the places of its references, which are not yet replaced."""

    tree: _Tree
    references: list[_Path]


class Sweep(NamedTuple):
    """What is said of a sweep: whether there is one without `-m`, and `params` and `grids` of it.

    Only a sweeper that is not the default one has other words.
    """

    always: bool
    sweeper: Mapping[str, Any]


class Composer:
    """Composes overrides over the primary config; reads each file once.

    user_configs: a folder of the user's own configs, searched after the shipped ones.
    """

    def __init__(self, user_configs: Path | None = None) -> None:
        self._folders = (
            [config_folder()] if user_configs is None else [config_folder(), user_configs]
        )
        self._files: dict[str, _File] = {}
        self._composed: dict[tuple[tuple[str, str], ...], _Composed] = {}
        self._primary = self._file("config")
        items = [item for item in self._primary.defaults if isinstance(item, dict)]
        self._groups: dict[str, str | None] = {
            group: option
            for item in items
            for group, option in item.items()
            if not group.startswith("override ")
        }

    def sweep(self, experiment: str) -> Sweep:
        """Return what an experiment says of its sweep.

        Raises NotPlain where it says more, or names a launcher or another sweeper.
        """
        self._overridden(experiment)
        file = self._file(f"experiment/{experiment}")
        chosen = {key: item[key] for item in file.defaults for key in item if "/hydra/" in key}
        hydra = file.content.get("hydra") or {}
        mode, sweeper = hydra.get("mode"), hydra.get("sweeper") or {}
        if (
            chosen.items() <= {"override /hydra/sweeper": "grids"}.items()
            and hydra.keys() <= {"mode", "sweeper"}
            and mode in (None, "RUN", "MULTIRUN")
            and sweeper.keys() <= {"params", "grids"}
        ):
            return Sweep(mode == "MULTIRUN", sweeper)
        raise NotPlain(f"hydra of {experiment}")

    def compose(self, overrides: Iterable[str]) -> _Tree:
        """Return what `bench run` composes `overrides` to, without `hydra`, references resolved.

        Raises NotPlain.
        """
        choices, values = [], []
        for override in overrides:
            key, _, word = override.partition("=")
            if key in self._groups or "@" in key:
                choices.append((key, word))
            else:
                values.append((tuple(key.split(".")), _value(word)))
        tree, references = self._of_files(tuple(choices))
        for path, value in values:
            tree = _with_value(tree, path, value)
        named = {path: _named(tree, path) for path in references}
        for path, value in named.items():
            tree = _with_value(tree, path, value)
        return tree

    def _of_files(self, choices: tuple[tuple[str, str], ...]) -> _Composed:
        if choices not in self._composed:
            tree: _Tree = {}
            for layer in self._layers(dict(choices)):
                tree = _merged(tree, layer)
            tree.pop("hydra", None)
            self._composed[choices] = _Composed(tree, list(_references(tree)))
        return self._composed[choices]

    def _layers(self, typed: dict[str, str]) -> list[_Tree]:
        """Return the content of each chosen file, in the order of the primary config's defaults."""
        experiment = typed.get("experiment", self._groups["experiment"])
        chosen = self._overridden(experiment) | typed
        unused = dict(chosen)
        layers: list[_Tree] = []
        for item in self._primary.defaults:
            group = item if isinstance(item, str) else next(iter(item))
            option = unused.pop(group, self._groups.get(group))
            if group == "_self_":
                layers.append(self._primary.content)
            elif group == "experiment" and experiment is not None:
                layers.append(self._file(f"experiment/{experiment}").content)
            elif group != "experiment" and option is not None:
                layers.append(self._option(group, str(option), (group,), unused))
        if unused:
            raise NotPlain(f"options of {', '.join(unused)}")
        return layers

    def _overridden(self, experiment: str | None) -> dict[str, str]:
        """Return the options that an experiment chooses."""
        if experiment is None:
            return {}
        file = self._file(f"experiment/{experiment}")
        if file.package != "_global_":
            raise NotPlain(f"package of {experiment}")
        chosen: dict[str, str] = {}
        for item in file.defaults:
            if not isinstance(item, dict) or not all(k.startswith("override /") for k in item):
                raise NotPlain(f"defaults of {experiment}")
            chosen |= {key.removeprefix("override /"): option for key, option in item.items()}
        return {key: option for key, option in chosen.items() if not key.startswith("hydra/")}

    def _option(self, group: str, option: str, place: _Path, chosen: dict[str, str]) -> _Tree:
        """Return what an option of a group adds to the config.

        place: of its content in the config, unless its file names another.
        chosen: options of other groups by group and place; those that are used are taken out.
        """
        file = self._file(f"{group}/{option}")
        place = (file.package,) if file.package else place
        tree: _Tree = {}
        items = [item for item in file.defaults if not _is_override(item)]
        for item in filter(_is_override, file.defaults):
            key, replaced = next(iter(item.items()))
            match = _NESTED.fullmatch(key.removeprefix("override "))
            if match is None:
                raise NotPlain(f"default {item}")
            chosen.setdefault(f"{match[1]}@{'.'.join((*place, match[2]))}", replaced)
        for item in items if "_self_" in items else [*items, "_self_"]:
            if item == "_self_":
                layer = file.content
                for key in reversed(place):
                    layer = {key: layer}
            elif isinstance(item, str):
                if self._file(f"{group}/{item}").package != file.package:
                    raise NotPlain(f"package of {group}/{item}")
                layer = self._option(group, item, place, chosen)
            else:
                layer = self._nested(item, place, chosen)
            tree = _merged(tree, layer)
        return tree

    def _nested(self, item: dict[str, str], place: _Path, chosen: dict[str, str]) -> _Tree:
        """Return what an option of another group adds below `place`, such as `/qat@qat: lsq`."""
        (key, option), *rest = item.items()
        match = _NESTED.fullmatch(key)
        if rest or match is None:
            raise NotPlain(f"default {item}")
        group, place = match[1], (*place, match[2])
        return self._option(group, chosen.pop(f"{group}@{'.'.join(place)}", option), place, chosen)

    def _file(self, name: str) -> _File:
        if name not in self._files:
            paths = (folder / f"{name}.yaml" for folder in self._folders)
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise NotPlain(f"no file {name}")
            self._files[name] = _read(path)
        return self._files[name]


def _is_override(item: Any) -> bool:
    return isinstance(item, dict) and next(iter(item)).startswith("override ")


def _read(path: Path) -> _File:
    text = path.read_text(encoding="utf-8")
    try:
        content = parse_yaml(text) or {}
    except yaml.YAMLError as error:
        raise NotPlain(str(path)) from error
    if not isinstance(content, dict) or not _is_plain_yaml(content):
        raise NotPlain(str(path))
    package = _PACKAGE.search(text)
    name = package.group(1) if package else None
    if name is not None and not name.isidentifier():
        raise NotPlain(f"package of {path}")
    return _File(name, content.pop("defaults", None) or [], content)


def _is_plain_yaml(value: Any) -> bool:
    """Return whether OmegaConf reads `value` alike: it takes 1e-3 for a number and no dates."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain_yaml(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_plain_yaml, value))
    if isinstance(value, str):
        return value != _MISSING and not re.fullmatch(r"(?=.*\d)[-+.\d][\d_.eE+-]*", value)
    return value is None or isinstance(value, bool | int | float)


def _value(word: str) -> Any:
    """Return the value that the text after `=` stands for."""
    numbers = numbers_in(word)
    if numbers is not None:
        return numbers
    text = written(word)
    if text is None:
        raise NotPlain(word)
    if text in _WORDS:
        return _WORDS[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text.replace("\\ ", " ")


def _merged(first: _Tree, second: _Tree) -> _Tree:
    """Return both, `second` winning; mappings are merged key by key."""
    tree = dict(first)
    for key, value in second.items():
        below = tree.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merged(below, value)
        tree[key] = value
    return tree


def _with_value(tree: _Tree, path: _Path, value: Any) -> _Tree:
    """Return `tree` with one known value changed."""
    first, rest = path[0], path[1:]
    if first not in tree or isinstance(tree[first], dict) != bool(rest):
        raise NotPlain(f"key {'.'.join(path)}")
    return tree | {first: _with_value(tree[first], rest, value) if rest else value}


def _references(tree: _Tree, parent: _Path = ()) -> Iterator[_Path]:
    """Yield the place of each value that may name another."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _references(value, (*parent, key))
        elif "${" in str(value):
            yield (*parent, key)


def _named(tree: _Tree, path: _Path) -> Any:
    """Return what the value at `path` is or, if it names another value, what that is."""
    value: Any = tree
    for key in path:
        if not isinstance(value, dict) or key not in value:
            raise NotPlain(f"reference to {'.'.join(path)}")
        value = value[key]
    if "${" not in str(value):
        return value
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise NotPlain(f"reference {value}")
    beside = path[:-1] if match[1] else ()
    return _named(tree, (*beside, *match[2].split(".")))
