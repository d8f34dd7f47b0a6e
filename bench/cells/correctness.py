"""Which images a cell has right: `correct.npz`, one bit an image, in evaluation order."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cells.result import Result
from bench.cells.result_file import AGAIN, CORRECT, Damaged
from models.checksum import sha256_of
from models.errors import BenchError

if TYPE_CHECKING:  # what only checks results is there at once
    import numpy as np


def save_correctness(folder: Path, top1: "np.ndarray", top5: "np.ndarray") -> None:
    """Write two boolean arrays of one value an image, eight to a byte."""
    import numpy as np

    np.savez(
        folder / CORRECT,
        top1=np.packbits(top1),
        top5=np.packbits(top5),
        total=np.int64(len(top1)),
    )


def check_correctness(folder: Path, result: Result) -> None:
    """Check the bitmap of a cell against the checksum in its result, where it has one.

    Raises Damaged when the bitmap is another one, or is not there.
    """
    if result.correct_sha256 is None:
        return
    path = folder / CORRECT
    try:
        sha256 = sha256_of(path)
    except BenchError as error:
        reason = type(error.__cause__).__name__
        raise Damaged(f"cannot read {path}: {reason}; {AGAIN}") from error
    if sha256 != result.correct_sha256:
        raise Damaged(f"{path} was altered: it is not the one of its record; {AGAIN}")


def read_correctness(folder: Path, result: Result) -> "dict[str, np.ndarray]":
    """Return boolean arrays `top1` and `top5`, one value an image.

    Raises Damaged when the bitmap cannot be read, was altered, or does not add up to the result.
    """
    import numpy as np

    check_correctness(folder, result)
    path = folder / CORRECT
    try:
        with np.load(path) as packed:
            bits = {name: packed[name] for name in ("top1", "top5")}
            total = int(packed["total"])
        right = {k: np.unpackbits(v, count=total).astype(bool) for k, v in bits.items()}
    except (OSError, ValueError, EOFError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise Damaged(f"cannot read {path}: {type(error).__name__}; {AGAIN}") from error
    counts = *(int(np.count_nonzero(right[top])) for top in ("top1", "top5")), total
    counts_in_result = result.correct, result.correct_top5, result.total
    if counts != counts_in_result:
        raise Damaged(
            f"{path} has {counts[0]} (top-5: {counts[1]}) of {total} images right and its record "
            f"{counts_in_result[0]} ({counts_in_result[1]}) of {counts_in_result[2]}; {AGAIN}"
        )
    return right
