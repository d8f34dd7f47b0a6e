"""What lies under outputs/cache, how to make room there, and how to take an entry along.

data/<key>/               decoded images, memory-mapped by who evaluates; lock: data/<key>.lock
sensitivity/<key>.json    of each layer; lock: sensitivity/<key>.lock
calibration/<key>/        images, curve, preview; lock: inside
training/<key>/           trained weights, history; lock: inside

A lock file stays when its entry goes: whoever waits for it must not wait for another file.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

Kept = Literal["calibration", "training"]
KINDS = ("data", "calibration", "sensitivity", "training")

_KEY = re.compile(r"\.?([0-9a-f]{64}|[0-9a-f]{16})(?![0-9a-f])")
# Written last, so that an entry that has it is whole; removed first for the same reason.
_WHOLE = {"calibration": "images.safetensors", "training": "trained.safetensors"}


class Entry(NamedTuple):
    """One entry of a cache: the files and folders that are it, and what says that it is held.

    used_at: when it was last used as far as the file system tells, in seconds since 1970: the
        newest access or modification of its files. With `relatime`, the default of Linux, an
        access is noted when the last one noted is a day old or older than the modification, so
        that entries used on different days are in order and those of one day may not be. With
        `noatime` it is when the entry was made. An access alone would say 1970 for some file
        systems, and a modification alone would take a set of images in daily use for the oldest.
    """

    kind: str
    key: str
    parts: tuple[Path, ...]
    lock: Path
    size_bytes: int
    used_at: float


class Cleaned(NamedTuple):
    """What `clean` removed, what a running process holds, and the bytes that are left."""

    removed: list[Entry]
    held: list[Entry]
    left_bytes: int


def entries(cache: Path) -> list[Entry]:
    """Return what lies in `cache`, by kind and key; what is not the project's is passed over."""
    found = []
    for kind in KINDS:
        names = os.listdir(cache / kind) if (cache / kind).is_dir() else []  # noqa: PTH208
        keys = {match[1] for name in names if (match := _KEY.match(name))}
        found += [_entry(cache, kind, key) for key in sorted(keys)]
    return [entry for entry in found if entry.parts]


def clean(cache: Path, limit_bytes: float, dry_run: bool) -> Cleaned:
    """Remove entries, the least recently used first, until at most `limit_bytes` are left.

    An entry stays while another process makes it (and has its lock) or has it memory-mapped, and
    when it was used or made since this began. A removed one is made again when it is needed.

    dry_run: remove nothing, and return what would be.
    Raises OSError when an entry cannot be removed.
    """
    found = entries(cache)
    removed: list[Entry] = []
    held: list[Entry] = []
    left = sum(entry.size_bytes for entry in found)
    for entry in sorted(found, key=lambda entry: entry.used_at):
        if left <= limit_bytes:
            break
        try:
            with FileLock(entry.lock, timeout=0):
                if _entry(cache, entry.kind, entry.key) != entry or _is_mapped(entry):
                    held.append(entry)
                    continue
                if not dry_run:
                    _remove(entry)
        except Timeout:
            held.append(entry)
            continue
        removed.append(entry)
        left -= entry.size_bytes
    return Cleaned(removed, held, left)


def copy_entry(source: Path, target: Path, kind: Kept, key: str) -> bool:
    """Copy an entry of the cache `source` to the cache `target`; return whether it was copied.

    It is not when `target` has it already or makes it at the moment, and when `source` lacks it
    or has an unfinished training. A kill leaves an entry that is not whole, and is made again.

    key: 16 hex digits; nothing is copied for another one, which might lead elsewhere.
    """
    if not re.fullmatch(r"[0-9a-f]{16}", key):
        return False
    found, whole = _entry(source, kind, key), _WHOLE[kind]
    makes_whole = any(part.name == whole for part in found.parts)
    if not found.parts or (kind == "training" and not makes_whole):
        return False
    folder = target / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            here = _entry(target, kind, key).parts
            if any(part.name == whole for part in here) or (here and not makes_whole):
                return False
            for part in reversed(found.parts):
                if part.is_file() and not part.is_symlink() and part.suffix != ".partial":
                    partial = folder / f"{part.stem}.partial"
                    # Without its times: it is used now.
                    shutil.copyfile(part, partial)
                    partial.replace(folder / part.name)
    except Timeout:
        return False
    return True


def _entry(cache: Path, kind: str, key: str) -> Entry:
    """Return what there is of an entry now, in the order in which it is to be removed."""
    folder = cache / kind
    if kind in _WHOLE:
        lock = folder / key / "lock"
        names = (path for path in (folder / key).glob("*") if path != lock)
        parts = sorted(names, key=lambda path: (path.name != _WHOLE[kind], path.name))
    else:
        lock = folder / f"{key}.lock"
        names = (folder / name for name in (f"{key}.partial", key, f"{key}.json"))
        parts = [path for path in (*names, *folder.glob(f".{key}.json.*")) if path.exists()]
    size_bytes, used_at = 0, 0.0
    for part in parts:
        for file in _files(part):
            with suppress(FileNotFoundError):
                about = file.lstat()
                size_bytes += about.st_size
                used_at = max(used_at, about.st_atime, about.st_mtime)
    return Entry(kind, key, tuple(parts), lock, size_bytes, used_at)


def _files(part: Path) -> Iterator[Path]:
    if not part.is_dir() or part.is_symlink():
        yield part
        return
    for folder, _, names in os.walk(part):
        yield from (Path(folder, name) for name in names)


def _remove(entry: Entry) -> None:
    for part in entry.parts:
        if part.is_symlink() or not part.is_dir():
            part.unlink(missing_ok=True)
            continue
        # As an unfinished one it is nobody's images, and is removed after a kill too.
        partial = part.with_name(f"{entry.key}.partial")
        shutil.rmtree(part.rename(partial) if part != partial else part)


def _is_mapped(entry: Entry) -> bool:
    """Return whether a process has decoded images memory-mapped, where the system tells (Linux).

    Such a process would go on with them, and removing them would free nothing until it ends.
    """
    if entry.kind != "data":
        return False
    images = f" {(entry.lock.parent / entry.key / 'images.npy').resolve()}\n".encode()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # the process ended, or is another user's
            if images in maps.read_bytes():
                return True
    return False
