"""What a cell has stored of each image, in evaluation order; `bench.tasks` says what that is."""

import zipfile
from pathlib import Path

from bench.cells.result import Result
from bench.cells.result_file import AGAIN, Damaged
from bench.tasks.base import Items
from models.checksum import sha256_of
from models.errors import BenchError


def check_items(folder: Path, result: Result) -> None:
    """Check the items of a cell against the checksum in its result, where it has one.

    Raises Damaged when the file is another one, or is not there.
    """
    if result.correct_sha256 is None:
        return
    path = folder / result.of_task.file
    try:
        sha256 = sha256_of(path)
    except BenchError as error:
        reason = type(error.__cause__).__name__
        raise Damaged(f"cannot read {path}: {reason}; {AGAIN}") from error
    if sha256 != result.correct_sha256:
        raise Damaged(f"{path} was altered: it is not the one of its record; {AGAIN}")


def read_items(folder: Path, result: Result) -> Items:
    """Return the items of a cell.

    Raises Damaged when the file cannot be read, was altered, or does not add up to the result.
    """
    check_items(folder, result)
    task, path = result.of_task, folder / result.of_task.file
    try:
        items = task.read(folder)
    except (OSError, ValueError, EOFError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise Damaged(f"cannot read {path}: {type(error).__name__}; {AGAIN}") from error
    if (words := task.misfit(items, vars(result))) is not None:
        raise Damaged(f"{path} has {words}; {AGAIN}")
    return items
