"""`bench merge`: the results of several machines in one folder."""

from argparse import Namespace
from pathlib import Path

from bench.cells.merge import KINDS, Merged
from bench.cells.merge import merge as merge_stores
from bench.cells.store import Store
from bench.config.experiments import outputs_of
from bench.console import say
from models.errors import BenchError
from models.paths import expanded

_WORDS = {
    "copied": "copied",
    "replaced": "in place of a failed one",
    "known": "already there",
    "conflict": "in conflict",
    "busy": "being measured",
    "skipped": "skipped",
}


def merge(arguments: Namespace) -> int:
    """Say what became of the records of each folder; return 1 with a conflict or a busy cell.

    Raises BenchError for a folder without results, and when copying fails.
    """
    # argparse takes an override for a folder where it stands among them.
    places = [word for word in arguments.folders if word.startswith("paths.outputs=")]
    folders = [word for word in arguments.folders if word not in places]
    target = Store(outputs_of([*places, *arguments.overrides]))
    sources = [_source(expanded(folder), target) for folder in folders]
    if not sources:
        raise BenchError("bench merge needs a folder to merge; give DIR, such as outputs_of_a")
    try:
        done = merge_stores(sources, target, arguments.dry_run)
    except OSError as error:
        raise BenchError(
            f"cannot copy to {target.root}: {error}; check space and permissions, then merge "
            "again: what is there is whole"
        ) from error
    for each in done:
        for line in each.lines:
            say(line)
        say(_summary(each))
    if arguments.dry_run:
        say("nothing was written: this is what would be done")
    return 1 if any(each.counts["conflict"] or each.counts["busy"] for each in done) else 0


def _source(folder: Path, target: Store) -> Store:
    store = Store(folder)
    if not store.cells.is_dir():
        raise BenchError(f"there is no folder {store.cells}; give a folder of results, with cells/")
    if folder.resolve() == target.root.resolve():
        raise BenchError(
            f"{folder} is the folder to merge into; name another with paths.outputs=DIR"
        )
    return store


def _summary(merged: Merged) -> str:
    counts = [f"{merged.counts[kind]} {_WORDS[kind]}" for kind in KINDS if merged.counts[kind]]
    if merged.cache_entries:
        counts.append(f"with {merged.cache_entries} of the cache")
    return f"{merged.source.root}: {', '.join(counts) or 'no results'}"
