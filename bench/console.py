"""What a command shows: its log lines and its output."""

import logging
import sys


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
    """Write `text` and a line end to stdout."""
    sys.stdout.write(text + "\n")


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, where there is one, instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()
