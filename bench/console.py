"""What a command shows: its log lines, and its text on the terminal or in a file."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from bench.files.whole import write_whole
from models.errors import BenchError


def prepare_streams() -> None:
    """Let whatever is written to stdout and stderr end nothing, wherever they lead.

    One that was closed, as a daemon's are, leads nowhere; a character that a terminal does not take
    becomes a question mark.
    """
    names = ("stdin", "stdout", "stderr")
    closed = [number for number, name in enumerate(names) if getattr(sys, name) is None]
    for number in closed:
        _lead_nowhere(number)
    for number in closed:
        way = "w" if number else "r"
        setattr(sys, names[number], open(os.devnull, way, encoding="utf-8"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _lead_nowhere(number: int) -> None:
    """Open a file descriptor that is closed, for this process and those that it starts.

    Else the next file that is opened gets the number, and what a library writes to stdout.
    """
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)


def show_log() -> None:
    """Show the harness's log lines on stdout from now on, as they are."""
    logger = logging.getLogger("bench")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if not any(isinstance(handler, _TerminalHandler) for handler in logger.handlers):
        handler = _TerminalHandler()
        handler.setLevel(logging.INFO)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def say(text: str) -> None:
    """Write `text` and a line end to stdout.

    Raises BenchError when they cannot be written, and BrokenPipeError when no one reads them.
    """
    with _stdout():
        sys.stdout.write(text + "\n")


def flush() -> None:
    """Write what stdout still keeps back; raises as `say`."""
    with _stdout():
        sys.stdout.flush()


def flush_or_drop() -> None:
    """Write what stdout still keeps back after an error; where that cannot be, forget it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _drop_stdout()


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


@contextmanager
def _stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_stdout()
        raise BenchError(f"the output cannot be written: {error.strerror}") from error


def _drop_stdout() -> None:
    # Python would try once more at its end, and say so in three lines.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, where there is one, instead of through it.

    A command goes on whose lines no one reads any more, or that find no room on a disk.
    """

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:
            _drop_stdout()
            if not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"warning: the output cannot be written: {error.strerror}\n")
