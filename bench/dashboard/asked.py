"""What a cell was asked with: the configuration beside its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.cells.request import normalised
from bench.config.schema import read_config
from bench.dashboard.command import command
from bench.dashboard.labels import Presets
from bench.files.yaml_files import read_yaml
from models.errors import BenchError

# What is not of its type may fail wherever it is first used.
_UNREADABLE = (OSError, yaml.YAMLError, TypeError, ValueError, RecursionError, BenchError)


class Asked(NamedTuple):
    """data: the `data` node. command: as of `command`. warning: a line on what cannot be read."""

    data: Mapping[str, Any] | None = None
    command: str | None = None
    warning: str | None = None


def read_asked(folder: Path, known: Presets) -> Asked:
    """Return what config.yaml in the `folder` of a cell says; nothing when there is none.

    known: the recipe presets, as of `labels.presets`. A file that names no cell costs the command,
    whatever is wrong with it, and is warned of.
    """
    path = folder / "config.yaml"
    data = None
    try:
        said = _mapping(path)
        data = said["data"] if isinstance(said.get("data"), dict) else None
        return Asked(data, command(normalised(read_config(said)), known))
    except FileNotFoundError:
        return Asked()
    except _UNREADABLE as error:
        why = " ".join(str(error).split()) or type(error).__name__
        return Asked(data, warning=f"{path} names no cell, so there is no command for it: {why}")


def _mapping(path: Path) -> dict[str, Any]:
    said = read_yaml(path)
    if not isinstance(said, dict):
        raise BenchError("it is no mapping")
    return said
