"""`result.json`: written with the checksums of a cell, and read where they fit."""

import json
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from bench.cells.migrations import SCHEMA_VERSION, SEALED_SINCE, migrated
from bench.cells.result import Result
from bench.files.checksum import fits, sealed
from models.checksum import sha256_of
from models.errors import BenchError

RESULT = "result.json"
AGAIN = "the next run of the cell measures it again and puts this folder aside"


class Damaged(BenchError):
    """The files of a cell are not what was once written: altered, cut off, or foreign."""


def write_result(folder: Path, result: Result) -> Result:
    """Write the result of a cell to its folder, after the items; return it with the checksums."""
    items = folder / result.of_task.file
    sha256 = sha256_of(items) if items.exists() else None
    result = result.model_copy(update={"correct_sha256": sha256})
    text = sealed(result.model_dump_json(indent=1, exclude={"checksum"}))
    (folder / RESULT).write_text(text, encoding="utf-8")
    return result.model_copy(update={"checksum": json.loads(text)["checksum"]})


def read_result(path: str) -> Result:
    """Return the result in a file, one of an earlier version as one of the present.

    Records of version 1 have no checksum, and are believed.

    Raises FileNotFoundError or NotADirectoryError when there is none, Damaged when it is none or an
    altered one, and BenchError when it cannot be read or is of a later version of the project.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    whole = fits(content)
    if whole is False:
        raise Damaged(f"{path} was altered: its checksum does not fit; {AGAIN}")
    if whole:
        with suppress(ValidationError):  # what is wrong is said below
            # Without a mapping in between, which takes half as long again.
            return Result.model_validate_json(content)
    try:
        values = from_json(content)
    except ValueError as error:
        raise Damaged(f"{path} is not whole; {AGAIN}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BenchError(
            f"{path} is of a newer version of this project (schema {version}, known is "
            f"{SCHEMA_VERSION}); update the project to read it"
        )
    if isinstance(version, int) and version >= SEALED_SINCE and whole is None:
        raise Damaged(f"{path} was altered: its checksum is gone; {AGAIN}")
    try:
        return Result.model_validate(migrated(values) if isinstance(values, dict) else values)
    except ValidationError as error:
        raise Damaged(
            f"{path} is not a result file of this version ({error.error_count()} keys do not "
            f"fit); {AGAIN}"
        ) from error
