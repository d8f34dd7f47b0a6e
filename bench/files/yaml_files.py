"""YAML files, read with libyaml where PyYAML was built with it: it is ten times as fast."""

from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Return the content of a file. Raises OSError, UnicodeDecodeError or yaml.YAMLError."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """Return what `text` stands for. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)
