"""Many cells through Hydra: what they are, how far they are, and how they ended.

Hydra runs the jobs, with any of its launchers. What each came to is appended to a journal in the
sweep's folder, which every process of the sweep can see, so that progress and the exit status do
not depend on the launcher.
"""

import json
import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from bench.grids import jobs_of, jobs_of_grids
from models.errors import BenchError

log = logging.getLogger(__name__)

_JOURNAL = "QUANTIZATION_BENCH_JOURNAL"


class Entry(NamedTuple):
    """One line of a journal. status: done, found, skipped, failed or refused."""

    status: str
    label: str
    id: str | None = None
    reason: str | None = None


class Journal:
    """What became of each job of one `bench run`, in a file that only grows.

    total: jobs in all, where it is known.
    """

    def __init__(self, path: Path, total: int | None):
        self.path = path
        self.total = total
        self._start = time.time()

    @classmethod
    def start(cls, path: Path, total: int | None) -> "Journal":
        """Begin a journal that the processes of this sweep find through the environment."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        journal = cls(path, total)
        os.environ[_JOURNAL] = json.dumps([str(path.resolve()), total, journal._start])
        return journal

    @staticmethod
    def forget() -> None:
        """Leave no journal to be found: of an earlier sweep, or of one that started this one."""
        os.environ.pop(_JOURNAL, None)

    @classmethod
    def current(cls) -> "Journal | None":
        """Return the journal that this process's sweep has started, if it has."""
        if _JOURNAL not in os.environ:
            return None
        path, total, start = json.loads(os.environ[_JOURNAL])
        journal = cls(Path(path), total)
        journal._start = start
        return journal

    def add(self, entry: Entry) -> None:
        # One short write in append mode: lines of several processes do not mix.
        with self.path.open("a") as file:
            file.write(json.dumps(entry._asdict()) + "\n")

    def entries(self) -> list[Entry]:
        return [Entry(**json.loads(line)) for line in self.path.read_text().splitlines()]

    def position(self) -> str:
        """Return how far the sweep is, such as `[12/27, 1 failed, 2 min left]`."""
        entries = self.entries()
        done = len(entries)
        bad = sum(entry.status in ("failed", "refused") for entry in entries)
        parts = [f"{done}/{self.total}" if self.total else str(done)]
        if bad:
            parts.append(f"{bad} failed")
        measured = sum(entry.status != "found" for entry in entries)
        if self.total and measured and done < self.total:
            seconds = (time.time() - self._start) / measured * (self.total - done)
            parts.append(f"about {readable(seconds)} left")
        return f"[{', '.join(parts)}]"

    def counts(self) -> Counter[str]:
        return Counter(entry.status for entry in self.entries())


class StartJournal(Callback):
    """Hydra callback: a multirun begins with a journal that knows how many jobs there are."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            typed, sweeper = config.hydra.overrides.task, config.hydra.sweeper
            grids = sweeper.get("grids")
            params = dict(sweeper.get("params") or {})
            total = len(jobs_of_grids(grids, typed) if grids else jobs_of(typed, params))
        except BenchError:  # another sweeper's own kinds: the number of jobs stays unknown
            total = None
        Journal.start(Path(config.hydra.sweep.dir) / f"jobs-{os.getpid()}.jsonl", total)


def readable(seconds: float) -> str:
    """Return a duration for people: `8 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
