"""Paths as people write them."""

from pathlib import Path

from models.errors import BenchError


def expanded(path: str | Path) -> Path:
    """Return `path` with a leading ~ or ~NAME as the home directory that it stands for.

    Raises BenchError where there is none: a container's user may have neither HOME nor an entry in
    the list of users.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BenchError(
            f"{str(path)!r}: no home directory is known; set HOME, or write the path in full"
        ) from error
