"""`bench cache`: what is kept to be used again, and room when it takes too much."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from pathlib import Path

from bench.config.experiments import outputs_of
from bench.console import say
from bench.files.caches import clean as clean_cache
from bench.files.caches import entries
from bench.files.entry import Usage
from bench.files.kinds import KINDS
from models.errors import BenchError

_BYTES_PER_GB = 10**9


def ls(arguments: Namespace) -> int:
    """Print entries and size of each kind, and the total; always returns 0."""
    usages = entries(_folder(arguments))
    for kind in KINDS:
        say(_row(kind.name, [usage for usage in usages if usage.entry.kind == kind]))
    say(_row("total", usages))
    return 0


def clean(arguments: Namespace) -> int:
    """Remove what was not used for longest; return 1 when more than the limit is left, else 0.

    Raises BenchError for a limit that is none, without a cache, and when removing fails.
    """
    limit_gb: float = arguments.max_gb
    if not (isfinite(limit_gb) and limit_gb >= 0):
        raise BenchError(f"--max-gb {limit_gb:g} is no size; give 0 or more, in GB (10^9 bytes)")
    cache = _folder(arguments)
    try:
        done = clean_cache(cache, limit_gb * _BYTES_PER_GB, arguments.dry_run)
    except OSError as error:
        raise BenchError(f"cannot remove from {cache}: {error}; check the permissions") from error
    verb = "would remove" if arguments.dry_run else "removed"
    for usage in done.removed:
        used = datetime.fromtimestamp(usage.used_at).astimezone().date()
        say(f"{verb} {_named(usage)}, last used {used}")
    for usage in done.held:
        say(f"in use, stays: {_named(usage)}")
    freed = _mib(sum(usage.size_bytes for usage in done.removed))
    left = f"{_mib(done.left_bytes):.1f} MiB left, the limit is {limit_gb:g} GB"
    say(f"{verb} {_count(done.removed)}, {freed:.1f} MiB; {left}")
    return 0 if done.left_bytes <= limit_gb * _BYTES_PER_GB else 1


def _folder(arguments: Namespace) -> Path:
    folder = outputs_of(arguments.overrides) / "cache"
    if not folder.is_dir():
        raise BenchError(
            f"there is no folder {folder}; name the folder of results with paths.outputs=DIR"
        )
    return folder


def _row(name: str, usages: Sequence[Usage]) -> str:
    size = _mib(sum(usage.size_bytes for usage in usages))
    return f"{name:<11}  {_count(usages):>13}  {size:>10.1f} MiB"


def _count(usages: Sequence[Usage]) -> str:
    return "1 entry" if len(usages) == 1 else f"{len(usages)} entries"


def _named(usage: Usage) -> str:
    entry = usage.entry
    return f"{entry.kind.name} {entry.key}  {_mib(usage.size_bytes):.1f} MiB"


def _mib(size_bytes: int) -> float:
    return size_bytes / 2**20
