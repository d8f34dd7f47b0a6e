"""What a command shows: its log lines and its output."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import BenchError


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


@contextmanager
def _stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try once more at its end, and say so in three lines.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        raise BenchError(f"the output cannot be written: {error.strerror}") from error


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, where there is one, instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()
