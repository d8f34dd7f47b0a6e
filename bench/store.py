"""The folder of result files: written whole, once each, by any number of processes.

outputs/cells/<id>/     config.yaml, result.json, correct.npz, log.txt (and tracking.json)
outputs/pending/<id>.*  being written, or being replaced, under the cell's lock
outputs/locks/<id>      held by the process that measures the cell, freed by its death
"""

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from bench.result import Result
from models.errors import BenchError

if TYPE_CHECKING:  # what only reads results is there at once
    import numpy as np

log = logging.getLogger(__name__)


class Busy(Exception):
    """Another process is measuring the cell."""


class Found(NamedTuple):
    """The records of a store in the order of their ids, and a line on each entry that is none."""

    results: list[Result]
    left_out: list[str]

    def note(self) -> str | None:
        """Return what a count of the results must say of the entries that it does not have."""
        if not self.left_out:
            return None
        count = len(self.left_out)
        what = "1 entry is" if count == 1 else f"{count} entries are"
        return f"{what} not counted: no whole result of this version, see the warnings"


class Store:
    """Results under `root`. Nothing is created before something is written."""

    def __init__(self, root: Path):
        self.root = root
        self.cells = root / "cells"
        self._pending = root / "pending"
        self._locks = root / "locks"

    def folder(self, id: str) -> Path:
        return self.cells / id

    def read(self, id: str) -> Result | None:
        """Return the record of a cell, or None when there is none.

        Raises BenchError when the file is there and is not a record.
        """
        path = self.folder(id) / "result.json"
        try:
            content = path.read_bytes()
            result = Result.model_validate_json(content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BenchError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise BenchError(f"{path} {_unreadable(content, error)}") from error
        if result.id != id:
            raise BenchError(
                f"{path} is the record of another cell, {result.id}; move its folder away to "
                "measure the cell again"
            )
        return result

    def results(self) -> list[Result]:
        """Return every readable record, in the order of ids; what is none is warned of."""
        return self.found().results

    def found(self) -> Found:
        """Return every record and what else lies among them; warn of each of the latter.

        Entries whose name begins with a dot are none of the project's and are passed over.
        """
        results: list[Result] = []
        left_out: list[str] = []
        names = sorted(os.listdir(self.cells)) if self.cells.is_dir() else []  # noqa: PTH208
        for name in names:
            if name.startswith("."):
                continue
            try:
                result = self.read(name)
            except BenchError as error:
                left_out.append(str(error))
                continue
            if result is not None:
                results.append(result)
            elif self.folder(name).is_dir():
                left_out.append(
                    f"{self.folder(name)} holds no result.json: half-written, or foreign"
                )
            elif self.folder(name).exists():  # else it went away meanwhile
                left_out.append(f"{self.folder(name)} is no folder of a cell")
        for line in left_out:
            log.warning("warning: not counted: %s", line)
        return Found(results, left_out)

    def find(self, prefix: str) -> Result:
        """Return the record whose id starts with `prefix`.

        Raises BenchError when no record or more than one does.
        """
        every = [path.name for path in self.cells.glob("*")]
        ids = sorted(id for id in every if prefix and id.startswith(prefix))
        if len(ids) != 1:
            count = f"{len(ids)} cells" if ids else "no cell"
            raise BenchError(
                f"{count} under {self.cells} with an id that starts with {prefix!r}; "
                "`bench status` lists them"
            )
        result = self.read(ids[0])
        if result is None:
            raise BenchError(f"{self.folder(ids[0])} holds no result.json; remove the folder")
        return result

    def correctness(self, id: str) -> "dict[str, np.ndarray]":
        """Return boolean arrays `top1` and `top5`, one value an image, in evaluation order.

        Raises BenchError when the file is missing or damaged.
        """
        import numpy as np

        path = self.folder(id) / "correct.npz"
        try:
            with np.load(path) as packed:
                bits = {name: packed[name] for name in ("top1", "top5")}
                total = int(packed["total"])
            return {k: np.unpackbits(v, count=total).astype(bool) for k, v in bits.items()}
        except (OSError, ValueError, EOFError, LookupError, TypeError, zipfile.BadZipFile) as error:
            raise BenchError(
                f"cannot read {path}: {type(error).__name__}; move its folder away to measure the "
                "cell again"
            ) from error

    @contextmanager
    def lock(self, id: str, wait: bool) -> Iterator[None]:
        """Be the only process that measures the cell.

        With wait=False raises Busy when another process does.
        """
        from filelock import FileLock, Timeout

        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / id)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise Busy(id) from None
        try:
            self._recover(id)
            yield
        finally:
            lock.release()

    @contextmanager
    def writing(self, id: str) -> Iterator[Path]:
        """Give an empty folder that becomes the cell's when the block ends without an exception.

        To be used under the cell's lock. A cell measured before stays until then.
        """
        new, old = self._pending / f"{id}.new", self._pending / f"{id}.old"
        new.mkdir(parents=True)
        try:
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        self.cells.mkdir(parents=True, exist_ok=True)
        if self.folder(id).exists():
            self.folder(id).rename(old)
        new.rename(self.folder(id))
        shutil.rmtree(old, ignore_errors=True)

    def scratch(self, id: str, purpose: str) -> Path:
        """Return an empty folder on the same file system, removed at the latest by `clean`.

        To be used under the cell's lock.
        """
        folder = self._pending / f"{id}.{purpose}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def clean(self) -> None:
        """Remove what killed processes left behind, except where a living one holds the lock."""
        for id in {path.name.split(".")[0] for path in self._pending.glob("*")}:
            try:
                with self.lock(id, wait=False):
                    pass
            except Busy:
                continue

    def _recover(self, id: str) -> None:
        old = self._pending / f"{id}.old"
        if old.exists() and not self.folder(id).exists():
            old.rename(self.folder(id))
        for leftover in self._pending.glob(f"{id}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def read_note(self, id: str, name: str) -> dict[str, Any] | None:
        """Return a small JSON file that was put beside a result; None without a readable one."""
        try:
            return json.loads((self.folder(id) / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def write_note(self, id: str, name: str, content: dict[str, Any]) -> None:
        """Put a small JSON file beside a result, whole or not at all.

        To be used under the cell's lock.
        """
        partial = self.scratch(id, "note") / f"{name}.json"
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(self.folder(id) / partial.name)
        partial.parent.rmdir()


def _unreadable(content: bytes, error: ValidationError) -> str:
    """Return what is wrong with the content of a result file, and what to do."""
    version = _schema_version(content)
    if version is not None and version > (known := Result.model_fields["schema_version"].default):
        return (
            f"is of a newer version of this project (schema {version}, known is {known}); update "
            "the project to read it"
        )
    return (
        f"is not a result file of this version ({error.error_count()} keys do not fit); move its "
        "folder away to measure the cell again"
    )


def _schema_version(content: bytes) -> int | None:
    try:
        record = json.loads(content)
    except ValueError:
        return None
    version = record.get("schema_version") if isinstance(record, dict) else None
    return version if isinstance(version, int) else None


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a kill leaves the old one, or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_correctness(folder: Path, top1: "np.ndarray", top5: "np.ndarray") -> None:
    """Write two boolean arrays of one value an image, eight to a byte."""
    import numpy as np

    np.savez(
        folder / "correct.npz",
        top1=np.packbits(top1),
        top5=np.packbits(top5),
        total=np.int64(len(top1)),
    )
