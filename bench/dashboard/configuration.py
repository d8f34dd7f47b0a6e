"""The configuration beside a result: what to type for its cell, and where its images are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.cells.recipe_label import Presets
from bench.cells.request import normalised
from bench.config.schema import read_config
from bench.dashboard.command import command
from bench.files.yaml_files import read_yaml
from models.errors import BenchError

# What is not of its type may fail wherever it is first used.
_UNREADABLE = (OSError, yaml.YAMLError, TypeError, ValueError, RecursionError, BenchError)


class Configuration(NamedTuple):
    """data: the `data` node. command: as of `command`. warning: a line on what cannot be read."""

    data: Mapping[str, Any] | None = None
    command: str | None = None
    warning: str | None = None


def read_configuration(folder: Path, recipes: Presets) -> Configuration:
    """Return what config.yaml in the `folder` of a cell says; nothing when there is none.

    recipes: the presets, as of `recipe_label.presets`. A file that names no cell costs the command,
    whatever is wrong with it, and is warned of.
    """
    path = folder / "config.yaml"
    data = None
    try:
        content = _mapping(path)
        data = content["data"] if isinstance(content.get("data"), dict) else None
        return Configuration(data, command(normalised(read_config(content)), recipes))
    except FileNotFoundError:
        return Configuration()
    except _UNREADABLE as error:
        why = " ".join(str(error).split()) or type(error).__name__
        warning = f"{path} names no cell, so there is no command for it: {why}"
        return Configuration(data, warning=warning)


def _mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise BenchError("it is no mapping")
    return content
