"""Results of several machines become one folder: copied where absent, compared where not."""

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from bench.cells.result import Result
from bench.cells.store import Busy, Store
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, TRAINING, is_key
from models.errors import BenchError

Kind = Literal["copied", "replaced", "known", "conflict", "busy", "skipped"]
KINDS: tuple[Kind, ...] = ("copied", "replaced", "known", "conflict", "busy", "skipped")


class Step(NamedTuple):
    """What becomes of one result, and where that needs words, a line.

    copied: absent before. replaced: instead of a failed result, or of one of fewer images. known:
    the same number is there, or it failed and something is there. conflict: the target has another
    number and keeps it. busy: another process is measuring the cell. skipped: one of both is not a
    whole result.
    """

    kind: Kind
    line: str | None = None


class Merged(NamedTuple):
    """What became of the results of one source, and how many cache entries came along."""

    source: Store
    counts: Counter[str]
    lines: list[str]
    cache_entries: int


def merge(sources: Sequence[Store], target: Store, dry_run: bool) -> list[Merged]:
    """Copy to `target` what it lacks of `sources`, in their order. A kill leaves no half cell.

    Each source is to be at rest: no process measures there meanwhile. The runs of W&B stay there.

    dry_run: write nothing, and return what would be done.
    Raises OSError when a cell cannot be copied; those before it are whole.
    """
    would_be_in: dict[str, Store] = {}  # of cells that a dry run does not copy
    every = []
    for source in sources:
        inventory = source.inventory()
        counts = Counter({"skipped": len(inventory.left_out)})  # the store has warned of each
        lines: list[str] = []
        cache_entries = 0
        for result in inventory.results:
            step = _decide(result, source, would_be_in.get(result.id, target))
            if step.kind in ("copied", "replaced"):
                if dry_run:
                    would_be_in[result.id] = source
                else:
                    step, taken_along = _copy(result, source, target)
                    cache_entries += taken_along
            counts[step.kind] += 1
            if step.line is not None:
                lines.append(f"{step.kind}: {step.line}")
        every.append(Merged(source, counts, lines, cache_entries))
    return every


def _decide(theirs: Result, source: Store, holder: Store) -> Step:
    """Return what is to become of a result of `source`; holder: of the one that stays."""
    id = theirs.id
    try:
        if any(path.is_symlink() for path in source.folder(id).rglob("*")):
            return Step("skipped", f"{source.folder(id)} holds a symbolic link")
        if theirs.status == "done":
            source.items(id)  # what is damaged is not spread
        ours = holder.read(id)
        if ours is None and holder.folder(id).exists():
            return Step("skipped", f"{holder.folder(id)} holds no result.json; move it away")
        if ours is None:
            return Step("copied")
        if theirs.status == "failed":
            return Step("known")
        if ours.status == "failed":
            return Step("replaced")
        difference = _difference(ours, holder, theirs, source)
        if difference is None and (theirs.total or 0) > (ours.total or 0):
            return Step("replaced")  # it has seen more images of the set
    except BenchError as error:
        return Step("skipped", str(error))
    return Step("known") if difference is None else Step("conflict", difference)


def _difference(ours: Result, holder: Store, theirs: Result, source: Store) -> str | None:
    """Return in words where two results of a cell have other numbers; None when they agree.

    Of parts of the images they agree where they do on those that both have seen.
    """
    values = f"{_value(ours)} in {holder.root}, {_value(theirs)} in {source.root}"
    text = f"{ours.id} {ours.label}: {values}"
    parts = ours.part_of is not None or theirs.part_of is not None
    if (ours.status != theirs.status) if parts else _numbers(ours) != _numbers(theirs):
        return text
    if ours.status != "done":
        return None
    difference = ours.of_task.difference(holder.items(ours.id), source.items(ours.id))
    return None if difference is None else f"{text}: {difference}"


def _numbers(result: Result) -> tuple[Any, ...]:
    """Return what tells the numbers of one cell apart."""
    return result.status, *(getattr(result, key) for key in result.of_task.counts)


def _value(result: Result) -> str:
    if result.status != "done":
        return f"{result.status} ({result.reason})"
    return f"{result.headline:.2f} % ({result.of_task.counted(vars(result))})"


def _copy(theirs: Result, source: Store, target: Store) -> tuple[Step, int]:
    """Copy a cell after what it names in the caches; return the number of the latter too."""
    try:
        with target.lock(theirs.id, wait=False):
            # Again, because another process may have measured it since.
            step = _decide(theirs, source, target)
            if step.kind not in ("copied", "replaced"):
                return step, 0
            entries = _cache_entries(theirs, source)
            taken_along = sum(entry.copy_to(target.root / "cache") for entry in entries)
            with target.writing(theirs.id) as folder:
                shutil.copytree(source.folder(theirs.id), folder, dirs_exist_ok=True)
            return step, taken_along
    except Busy:
        line = f"{theirs.id} {theirs.label}: a process is measuring it; merge again later"
        return Step("busy", line), 0


def _cache_entries(result: Result, source: Store) -> list[CacheEntry]:
    """Return each cache entry that a cell was measured with."""
    training = source.read_note(result.id, "training")
    key = training.get("key") if isinstance(training, dict) else None
    return [
        CacheEntry(source.root / "cache", kind, key)
        for kind, key in ((CALIBRATION, result.calibration_key), (TRAINING, key))
        if isinstance(key, str) and is_key(key)
    ]
