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
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from bench.cells.differences import typed_values, varying, words
from bench.config.grids import jobs_of
from models.errors import BenchError

log = logging.getLogger(__name__)

_JOURNAL = "QUANTIZATION_BENCH_JOURNAL"


class Entry(NamedTuple):
    """One line of a journal. status: done, found, skipped, failed or refused.

    outputs: the folder of its result, where it has one.
    """

    status: str
    label: str
    id: str | None = None
    reason: str | None = None
    outputs: str | None = None


class Journal:
    """What became of each job of one `bench run`, in a file that only grows.

    total: jobs in all, where it is known. varying: the keys in which they differ, where it is.
    """

    def __init__(self, path: Path, total: int | None, varying: Sequence[str] | None = None):
        self.path = path
        self.total = total
        self.varying = varying
        self._start = time.time()
        self._counted = Counter[str]()
        self._refusals = set[str]()
        self._read = 0  # bytes of the file that are counted

    @classmethod
    def start(cls, path: Path, total: int | None) -> "Journal":
        """Begin a journal that the processes of this sweep find through the environment."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
        journal = cls(path, total)
        journal._publish()
        return journal

    def expect(self, jobs: Sequence[Sequence[str]]) -> None:
        """Say which jobs there are, once that is known: the overrides of each."""
        self.total = len(jobs)
        self.varying = varying(map(typed_values, jobs))
        self._publish()

    def words(self, job: Sequence[str]) -> list[str]:
        """Return those of the overrides of a `job` in which it differs from others of the sweep.

        These are all of them where it is not known which jobs there are.
        """
        return list(job) if self.varying is None else words(typed_values(job), self.varying)

    def _publish(self) -> None:
        known = [str(self.path.resolve()), self.total, self._start, self.varying]
        os.environ[_JOURNAL] = json.dumps(known)

    @staticmethod
    def forget() -> None:
        """Leave no journal to be found: of an earlier sweep, or of one that started this one."""
        os.environ.pop(_JOURNAL, None)

    @classmethod
    def current(cls) -> "Journal | None":
        """Return the journal that this process's sweep has started, if it has."""
        published = os.environ.get(_JOURNAL)
        return None if published is None else _published(published)

    def add(self, entry: Entry) -> None:
        # One short write in append mode: lines of several processes do not mix.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry._asdict()) + "\n")

    def entries(self) -> list[Entry]:
        return [Entry(**json.loads(line)) for line in self.path.read_text("utf-8").splitlines()]

    def position(self) -> str:
        """Return how far the sweep is, such as `[12/27, 1 failed, 2 min left]`."""
        counts = self.counts()
        done, bad = counts.total(), counts["failed"] + counts["refused"]
        parts = [f"{done}/{self.total}" if self.total else str(done)]
        if bad:
            parts.append(f"{bad} failed")
        measured = done - counts["found"]
        elapsed = time.time() - self._start  # less than nothing where the clock was set back
        if self.total and measured and done < self.total and elapsed > 0:
            seconds = elapsed / measured * (self.total - done)
            parts.append(f"about {readable(seconds)} left")
        return f"[{', '.join(parts)}]"

    def has_refusal(self, reason: str) -> bool:
        """Return whether a job was refused for this reason."""
        self._read_on()
        return reason in self._refusals

    def counts(self) -> Counter[str]:
        """Return how many entries there are of each status."""
        self._read_on()
        return self._counted.copy()

    def _read_on(self) -> None:
        """Count the lines not yet seen."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._read += len(whole) + 1
            entries = [json.loads(line) for line in whole.split(b"\n")]
            self._counted.update(entry["status"] for entry in entries)
            self._refusals |= {e["reason"] for e in entries if e["status"] == "refused"}


# One object for all the lines of a sweep, so that each line of the file is read once a process.
@lru_cache(maxsize=1)
def _published(text: str) -> Journal:
    path, total, start, varying = json.loads(text)
    journal = Journal(Path(path), total, varying)
    journal._start = start
    return journal


class StartJournal(Callback):
    """Hydra callback: a multirun begins with a journal.

    It knows how many jobs plain lists come to; a sweeper that knows better says so (`expect`).
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweeper = config.hydra.sweeper
        path = Path(config.hydra.sweep.dir) / f"jobs-{os.getpid()}.jsonl"
        # Hydra only warns of what a callback raises; the sweeper writes there next, and fails.
        # Another sweeper's lists may be of kinds of its own: its jobs stay unknown.
        with suppress(OSError, BenchError):
            journal = Journal.start(path, None)
            journal.expect(jobs_of(config.hydra.overrides.task, dict(sweeper.get("params") or {})))


def readable(seconds: float) -> str:
    """Return a duration for people: `8 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
