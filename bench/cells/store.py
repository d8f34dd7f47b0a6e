"""The folder of result files: written whole, once each, by any number of processes.

outputs/cells/<id>/     config.yaml, result.json, the items of the task, log.txt (and tracking.json,
                        integer.json)
outputs/pending/<id>.*  being written, or being replaced, under the cell's lock
outputs/locks/<id>      held by the process that measures the cell, freed by its death
outputs/altered/<id>    no longer as it was written; was in cells/ until it was measured again
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.cells.items import check_items, read_items
from bench.cells.result import Result
from bench.cells.result_file import AGAIN, RESULT, Damaged, read_result
from bench.tasks.base import Items
from models.errors import BenchError

log = logging.getLogger(__name__)

INTEGER = "integer"
"""The note beside a result that says what its integers have come to: `integer.json`."""


class Busy(Exception):
    """Another process is measuring the cell."""


class Inventory(NamedTuple):
    """The results of a store in the order of their ids, and a line on each entry that is none."""

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
        self._altered = root / "altered"

    def folder(self, id: str) -> Path:
        return self.cells / id

    def read(self, id: str) -> Result | None:
        """Return the result of a cell, or None when there is none. The items are not looked at.

        Raises Damaged when the file is there and is not as it was written, and BenchError when it
        cannot be read or is of a later version of the project.
        """
        path = f"{self.cells}/{id}/{RESULT}"  # a Path takes as long as reading the file
        try:
            result = read_result(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if result.id != id:
            raise Damaged(f"{path} is the record of another cell, {result.id}; {AGAIN}")
        return result

    def finished(self, id: str) -> Result | None:
        """Return the result of a cell that need not be measured again: done or skipped, and whole.

        Raises BenchError for a result of a later version of the project.
        """
        try:
            result = self.read(id)
            if result is None or result.status == "failed":
                return None
            check_items(self.folder(id), result)
        except Damaged:
            return None
        return result

    def results(self) -> list[Result]:
        """Return every readable result, in the order of ids; what is none is warned of."""
        return self.inventory().results

    def inventory(self) -> Inventory:
        """Return every result and what else lies among them; warn of each of the latter.

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
        return Inventory(results, left_out)

    def find(self, prefix: str) -> Result:
        """Return the result whose id starts with `prefix`.

        Raises BenchError when no result or more than one does.
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

    def items(self, id: str) -> Items:
        """Return what a cell has stored of each image: `Correctness`, or what its task has.

        Raises BenchError when there is no result, and Damaged when the result or the items are not
        as they were written, or one does not belong to the other.
        """
        result = self.read(id)
        if result is None:
            raise BenchError(f"{self.folder(id)} holds no {RESULT}, so its items mean nothing")
        return read_items(self.folder(id), result)

    @contextmanager
    def lock(self, id: str, wait: bool) -> Iterator[None]:
        """Be the only process that measures the cell.

        With wait=False raises Busy when another process does.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self._locks / id)
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
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

        To be used under the cell's lock. A cell measured before stays until then; one that was
        altered goes to `altered/`.
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
            self.folder(id).rename(self._aside(id) or old)
        new.rename(self.folder(id))
        shutil.rmtree(old, ignore_errors=True)

    def _aside(self, id: str) -> Path | None:
        """Return where the folder of a cell goes if it is not as it was written, and say so."""
        try:
            result = self.read(id)
            if result is not None:
                check_items(self.folder(id), result)
            return None
        except Damaged as error:
            self._altered.mkdir(parents=True, exist_ok=True)
            taken = len([*self._altered.glob(f"{id}*")])
            place = self._altered / (f"{id}.{taken + 1}" if taken else id)
            reason = str(error).removesuffix(f"; {AGAIN}")
            log.warning("warning: %s; measured again, the altered one is in %s", reason, place)
            return place

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
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.folder(id) / partial.name)
        partial.parent.rmdir()
