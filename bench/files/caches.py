"""What lies under outputs/cache, and how to make room there."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from bench.files.entry import CacheEntry, Usage
from bench.files.kinds import KINDS

# With the names of what was being written when a process was killed.
_KEY = re.compile(r"\.?([0-9a-f]{64}|[0-9a-f]{16})(?![0-9a-f])")


class Cleaned(NamedTuple):
    """What `clean` removed, what a running process holds, and the bytes that are left."""

    removed: list[Usage]
    held: list[Usage]
    left_bytes: int


def entries(cache: Path) -> list[Usage]:
    """Return what lies in `cache`, by kind and key; what is not the project's is passed over."""
    usages = []
    for kind in KINDS:
        folder = cache / kind.name
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208
        keys = {match[1] for name in names if (match := _KEY.match(name))}
        usages += [CacheEntry(cache, kind, key).usage() for key in sorted(keys)]
    return [usage for usage in usages if usage.parts]


def clean(cache: Path, limit_bytes: float, dry_run: bool) -> Cleaned:
    """Remove entries, the least recently used first, until at most `limit_bytes` are left.

    An entry stays while another process makes it (and has its lock) or has it memory-mapped, and
    when it was used or made since this began. A removed one is made again when it is needed.

    dry_run: remove nothing, and return what would be.
    Raises OSError when an entry cannot be removed.
    """
    usages = entries(cache)
    removed: list[Usage] = []
    held: list[Usage] = []
    left = sum(usage.size_bytes for usage in usages)
    for usage in sorted(usages, key=lambda usage: usage.used_at):
        if left <= limit_bytes:
            break
        entry = usage.entry
        try:
            with entry.locked(wait=False):
                if entry.usage() != usage or entry.is_mapped():
                    held.append(usage)
                    continue
                if not dry_run:
                    entry.remove()
        except Timeout:
            held.append(usage)
            continue
        removed.append(usage)
        left -= usage.size_bytes
    return Cleaned(removed, held, left)
