"""Offline runs on their way to Weights & Biases: one `wandb sync` at a time, in the background.

Run as a module, this file is that process: `python -m bench.tracking.uploads PARENT RUN...`.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.machine.children import child_environment, environment
from bench.tracking.surroundings import of_upload


class Uploads:
    """The runs of one command: one process at a time, which takes all the runs that wait."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[Path] = []
        self._runs: list[Path] = []

    def add(self, run: Path) -> None:
        """Upload the finished run in `run` soon."""
        self._runs.append(run)
        self._waiting.append(run)
        if self._process is None or self._process.poll() is not None:
            self._start()

    def missing(self) -> list[Path]:
        """Return the runs that are not uploaded."""
        return [run for run in self._runs if not any(_marks(run))]

    def finish(self, patience_seconds: float) -> list[Path]:
        """Wait for the uploads, as long as they get on; return the runs that are not uploaded.

        patience_seconds: the longest time in which no run is uploaded before the rest is given up.
        """
        left, deadline = len(self.missing()), time.monotonic() + patience_seconds
        while self._process is not None:
            try:
                self._process.wait(min(1.0, patience_seconds))
            except subprocess.TimeoutExpired:
                now_left = len(self.missing())
                if now_left < left:
                    left, deadline = now_left, time.monotonic() + patience_seconds
                if time.monotonic() < deadline:
                    continue
                self._process.kill()
                self._process.wait()
                break
            self._process = None
            if self._waiting:
                self._start()
        return self.missing()

    def _start(self) -> None:
        command = [sys.executable, "-m", "bench.tracking.uploads", str(os.getpid())]
        # Its own log goes beside the runs, not to where the command was typed.
        outputs = self._waiting[0].parent.parent
        with environment(child_environment() | of_upload(outputs)):
            self._process = subprocess.Popen(
                [*command, *map(str, self._waiting)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._waiting = []


def _marks(run: Path) -> Iterable[Path]:
    return run.glob("*.synced")


# What writes to the log of `wandb sync` when a part of a run is lost. Other errors are those of a
# request that is made again, or of a question that a server need not answer.
_PARTS = ("filestream:", "runfiles:", "runupserter:", "sender:")


def incomplete(log: str, runs: Iterable[Path]) -> list[Path]:
    """Return the runs of which the log of a `wandb sync`, JSON lines, says that a part was lost."""
    lost: set[str] = set()
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # cut off
            continue
        if not isinstance(entry, dict):
            continue
        if entry.get("level", "").startswith("ERROR") and entry.get("msg", "").startswith(_PARTS):
            lost.add(Path(entry.get("sync_path", "")).parent.name)
    return [run for run in runs if run.name in lost]


def _sync(parent: int, runs: Sequence[Path]) -> None:
    """Upload `runs` and leave W&B's mark only on those that went whole.

    `wandb sync` marks a run, and is content, when the server refuses its files in the middle.
    """
    _die_with(parent)
    logs = Path(os.environ["WANDB_DIR"]) / "wandb" / "logs"
    before = set(logs.glob("debug-sync.*"))
    from wandb.cli.cli import cli

    try:
        cli(["sync", "--yes", *map(str, runs)])  # ends in SystemExit
    finally:
        for log in set(logs.glob("debug-sync.*")) - before:
            for run in incomplete(log.read_text("utf-8", "replace"), runs):
                for mark in _marks(run):
                    mark.unlink()


_PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)


def _die_with(parent: int) -> None:
    """End this process when `parent` ends, however that comes about, on Linux.

    A server that does not answer is asked again for hours.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was faster
            sys.exit(1)


if __name__ == "__main__":
    _sync(int(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
