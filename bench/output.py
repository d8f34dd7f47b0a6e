"""Where a command's text goes: the terminal, or the file that it was asked for."""

from pathlib import Path

from bench.console import say
from bench.store import write_whole
from models.errors import BenchError


def put(text: str, file: Path | None) -> None:
    """Print `text`, lines with their ends, or write it to `file` and say so.

    Raises BenchError when it cannot be written.
    """
    if file is not None:
        write(text, file)
        say(f"wrote {file}")
    elif text:
        say(text.rstrip("\n"))


def write(text: str, file: Path) -> None:
    """Write a text file whole, its folders included.

    Raises BenchError when it cannot be written.
    """
    try:
        if file.is_dir():
            raise BenchError(f"cannot write {file}: it is a folder; name a file")
        write_whole(file, text)
    except FileExistsError as error:  # said of its folder, where that is a file
        raise BenchError(
            f"cannot write {file}: {file.parent} is no folder; name another file"
        ) from error
    except OSError as error:
        raise BenchError(f"cannot write {file}: {error.strerror}; name another file") from error
