"""One entry of the cache: whole or absent, locked while it is made, checked when it is read."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from bench.files.checksum import CHECKSUMS, checksums, folder_fits
from bench.files.kinds import Kind, is_key
from bench.files.whole import write_whole
from models.errors import BenchError

T = TypeVar("T")

log = logging.getLogger(__name__)

_PARTIAL = ".partial"
# What reading raises of files that are not what was written.
_DAMAGE = (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class CacheEntry:
    """What is kept under one key of a cache, or would be.

    cache: the folder of all kinds, `outputs/cache`. key: of `is_key`, which is checked.
    """

    cache: Path
    kind: Kind
    key: str

    def __post_init__(self) -> None:
        if not is_key(self.key):
            raise ValueError(f"{self.key!r} names no entry of a cache")

    @property
    def path(self) -> Path:
        """The folder of the entry, or its file."""
        return self._place(self.kind.path)

    @property
    def lock_path(self) -> Path:
        return self._place(self.kind.lock)

    @property
    def is_whole(self) -> bool:
        return self._whole.exists()

    def file(self, name: str) -> Path:
        """Return the path of one of the kind's files. Raises ValueError for another name."""
        if name not in self.kind.files:
            raise ValueError(f"an entry of {self.kind.name} has no file {name!r}")
        return self.path / name

    def existing_files(self) -> list[Path]:
        """Return those of the kind's files that are there, in the order of `Kind.files`."""
        return [path for path in map(self.file, self.kind.files) if path.exists()]

    @contextmanager
    def locked(self, wait: bool = True) -> Iterator[None]:
        """Hold the lock for the time of the block; whoever writes or removes the entry has it.

        With wait=False raises filelock.Timeout when it is taken.
        """
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.lock_path, timeout=-1 if wait else 0):
            yield

    def read_or_make(self, read: Callable[[], T | None], make: Callable[[], T]) -> T:
        """Return what `read` returns, and where that is None, what `make` does, under the lock.

        So another process that asks for the same entry waits, and reads it.
        """
        with self.locked():
            content = read()
            if content is not None:
                return content
            self._remove_leftovers()
            return make()

    def read(self, load: Callable[[], T]) -> T | None:
        """Return what `load` reads of a whole entry; None where there is none. The lock is held.

        An entry whose checksums do not fit, or that `load` fails on, is discarded.
        """
        if not self.is_whole:
            return None
        try:
            if not self.kind.checked or folder_fits(self.path):
                return load()
        except _DAMAGE:
            pass
        self.discard()
        return None

    def write(self, name: str, text: str) -> None:
        """Write a text file of an entry that `complete` makes whole afterwards."""
        write_whole(self.file(name), text)

    def complete(self, write: Callable[[Path], object]) -> None:
        """Make the entry whole: `write` writes a file or a folder, which is renamed at the end.

        The lock is held. A kill leaves what is no entry; an error leaves nothing.
        """
        partial = self._partial
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            if self.kind.checked:
                files = {name: self.file(name) for name in self.kind.checked}
                there = {name: path for name, path in files.items() if path.exists()}
                sums = checksums({self._whole.name: partial, **there})
                write_whole(self.path / CHECKSUMS, sums)
            partial.replace(self._whole)
        except BaseException:
            with suppress(OSError):
                _remove(partial)
            raise

    def reread(self, content: T | None) -> T:
        """Return what was read of the entry right after it was made.

        Raises BenchError for None: then no disk keeps it.
        """
        if content is None:
            raise BenchError(f"{self.path} is damaged as soon as it is written; check the disk")
        return content

    def discard(self) -> None:
        """Remove an entry that is damaged, and say so in a warning. The lock is held."""
        log.warning(f"warning: {self.kind.damaged}", self.path)
        for part in self._parts():
            if part.name not in self.kind.lasting:
                _remove(part)

    def remove(self) -> None:
        """Remove what there is of the entry, whole or not. The lock is held, and stays.

        A kill meanwhile leaves what does not pass for whole. Raises OSError.
        """
        for part in self._parts():
            _remove(part)

    def usage(self) -> "Usage":
        """Return what there is of the entry now."""
        parts, size_bytes, used_at = self._parts(), 0, 0.0
        for part in parts:
            for file in _files(part):
                with suppress(FileNotFoundError):
                    about = file.lstat()
                    size_bytes += about.st_size
                    used_at = max(used_at, about.st_atime, about.st_mtime)
        return Usage(self, parts, size_bytes, used_at)

    def is_mapped(self) -> bool:
        """Return whether a process has the entry memory-mapped, where the system tells (Linux).

        Such a process would go on with it, and removing it would free nothing until it ends.
        """
        if self.kind.mapped is None:
            return False
        mapped = f" {self.file(self.kind.mapped).resolve()}\n".encode()
        for maps in Path("/proc").glob("[0-9]*/maps"):
            with suppress(OSError):  # the process ended, or is another user's
                if mapped in maps.read_bytes():
                    return True
        return False

    def copy_to(self, cache: Path) -> bool:
        """Copy the entry to another cache; return whether it was copied.

        It is not when the other has it already or makes it at the moment, and when there is not
        enough of it here (`Kind.copied`). A kill leaves an entry that is not whole, and is made
        again.
        """
        parts, whole = self._parts(), self.is_whole
        if not parts or self.kind.copied == "never" or (self.kind.copied == "whole" and not whole):
            return False
        other = replace(self, cache=cache)
        try:
            with other.locked(wait=False):
                if other.is_whole or (other._parts() and not whole):
                    return False
                for part in reversed(parts):  # what makes it whole last
                    if part.is_file() and not part.is_symlink() and part.suffix != _PARTIAL:
                        partial = other.path / f"{part.stem}{_PARTIAL}"
                        # Without its times: it is used now.
                        shutil.copyfile(part, partial)
                        partial.replace(other.path / part.name)
        except Timeout:
            return False
        return True

    @property
    def _whole(self) -> Path:
        return self._place(self.kind.whole)

    @property
    def _partial(self) -> Path:
        """What `complete` writes before it has its name."""
        return self._whole.with_suffix(_PARTIAL)

    @property
    def _has_lock_inside(self) -> bool:
        return self.lock_path.parent == self.path

    def _place(self, pattern: str) -> Path:
        return self.cache / self.kind.name / pattern.format(key=self.key)

    def _parts(self) -> tuple[Path, ...]:
        """Return what there is of the entry, in the order in which it is to be removed."""
        if self._has_lock_inside:
            found = (path for path in self.path.glob("*") if path != self.lock_path)
            return tuple(sorted(found, key=lambda path: (path != self._whole, path.name)))
        known = (path for path in (self._partial, self.path) if path.exists())
        # The last ones were left by a kill while an earlier version wrote.
        return *known, *self.path.parent.glob(f".{self.path.name}.*")

    def _remove_leftovers(self) -> None:
        """Remove what killed processes have left here; beside here too, as keys may not come again.

        The lock is held.
        """
        if self._has_lock_inside:
            for path in self.path.iterdir():
                if path.suffix == _PARTIAL or path.match(".*.json.*"):
                    _remove(path)
            return
        for path in self.path.parent.glob(f"*{_PARTIAL}"):
            with suppress(OSError, ValueError):  # ValueError: it is not ours
                other = replace(self, key=path.stem)
                if other == self:
                    _remove(path)
                    continue
                # Whoever writes a partial entry holds its lock: one that is free has no writer.
                with suppress(Timeout), other.locked(wait=False):
                    _remove(path)


class Usage(NamedTuple):
    """What there is of an entry: files and folders, their size, and when they were last used.

    used_at: as far as the file system tells, in seconds since 1970: the newest access or
        modification of the files. With `relatime`, the default of Linux, an access is noted when
        the last one noted is a day old or older than the modification, so that entries used on
        different days are in order and those of one day may not be. With `noatime` it is when the
        entry was made. An access alone would say 1970 for some file systems, and a modification
        alone would take a set of images in daily use for the oldest.
    """

    entry: CacheEntry
    parts: tuple[Path, ...]
    size_bytes: int
    used_at: float


def _files(part: Path) -> Iterator[Path]:
    if not part.is_dir() or part.is_symlink():
        yield part
        return
    for folder, _, names in os.walk(part):
        yield from (Path(folder, name) for name in names)


def _remove(part: Path) -> None:
    if part.is_symlink() or not part.is_dir():
        part.unlink(missing_ok=True)
        return
    # As an unfinished one it is nobody's images, and is removed after a kill too.
    partial = part.with_suffix(_PARTIAL)
    shutil.rmtree(part.rename(partial) if part != partial else part)
