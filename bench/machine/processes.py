"""Processes that a process has started, and their end."""

import os
from contextlib import suppress

import psutil


def descendants(process: int) -> list[psutil.Process]:
    """Return the processes that `process` has started, and theirs, but for this one.

    Each knows its start time, which a later process of the same number does not have.
    """
    try:
        below = psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [each for each in below if each.pid != os.getpid()]


def kill(process: psutil.Process) -> None:
    """End a process, if it is still there and one of this user's."""
    with suppress(psutil.Error):
        process.kill()
