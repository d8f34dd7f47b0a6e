"""Python processes that this one starts: what they import is this project, and then the user's.

Python looks for modules in the folder where a process is started first. A `bench.py` of the user's
there would be taken for this package; their own `my_networks.py` there must be found all the same.
"""

import os
import site
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bench


def child_environment() -> dict[str, str]:
    """Return the environment variables that let a child import what this process has imported.

    It does not look into the folder where it is started, and finds this project where it is here,
    be it unpacked and not installed.
    """
    folder = str(Path(bench.__file__).parent.parent)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if folder not in (*site.getsitepackages(), site.getusersitepackages()):
        paths = [folder, *(path for path in paths if path != folder)]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def import_last_from(folder: str | Path) -> None:
    """Look for modules in `folder` after everything installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or with None unset them, for the time of the block."""
    earlier = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(earlier)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
