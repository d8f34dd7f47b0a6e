"""The config files that ship with the project."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from models.errors import BenchError


@cache
def config_folder() -> Path:
    """Return the folder of the shipped configs: inside a wheel, or beside a checkout's packages."""
    spec = find_spec("bench")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def check_user_configs(folder: Path) -> None:
    """Raise BenchError where there is no such folder of the user's own configs."""
    if not folder.is_dir():
        raise BenchError(
            f"there is no folder {folder}; --config-dir names the one with your configs"
        )


def options(group: str, user_configs: Path | None = None) -> dict[str, str]:
    """Return the options of a config group with their one-line descriptions.

    user_configs: a folder of the user's own configs, laid out as the shipped ones.
    """
    folders = [config_folder()] if user_configs is None else [config_folder(), user_configs]
    files = sorted(file for folder in folders for file in (folder / group).glob("*.yaml"))
    return {file.stem: _description(file) for file in files}


def _description(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    return next((line for line in comments if not line.startswith("@package")), "")
