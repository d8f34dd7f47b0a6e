"""A time limit for the measuring of one cell, which ends it whatever it hangs in.

1. When the time is up, an exception is raised in the main thread: the cell is recorded as failed
   and the process goes on with the next one.
2. A main thread that is deep in C code sees no exception. After a grace period the process notes
   where all its threads are and ends, with status 1.
3. Another process has watched it (`bench.measure.guard`): it ends what the first leaves behind and
   records the cell. A thread could not: the code that hangs may hold the interpreter's lock.
"""

import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import NamedTuple

from bench.cells.result import Result
from bench.machine.children import child_environment
from bench.measure.clock import Clock
from bench.measure.guard import reason
from models.errors import BenchError

GRACE_SECONDS = 30.0
"""How long the main thread may take to come back when the time is up."""


class TimeLimit(BenchError):
    """The time of a cell is up."""


class Unfinished(NamedTuple):
    """What is recorded of a cell when its process has to be ended.

    record: all that is known of it, as a failure. folder: where its files are being written.
    config: its resolved configuration, YAML.
    """

    outputs: Path
    folder: Path
    config: str
    record: Result


class _TimeUp(BaseException):
    """Not an Exception: a library that tries something else after any of those must not see it."""


@contextmanager
def time_limit(
    seconds: float | None, clock: Clock, unfinished: Callable[[], Unfinished]
) -> Iterator[None]:
    """Limit the time of a block, in the main thread of a process; seconds=None: do nothing.

    unfinished: called once, at the start, for what to record if the process has to be ended.

    Raises TimeLimit when the time is up, and BenchError in another thread, which nothing could
    interrupt.
    """
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise BenchError(
            "runtime.limit_s needs the main thread of a process, and this cell runs in another; "
            "run each cell in a process, or give runtime.limit_s=null"
        )

    def time_is_up(number: int, frame: FrameType | None) -> None:
        raise _TimeUp(clock.current)

    with _watched(seconds, clock, unfinished()):
        earlier = signal.signal(signal.SIGALRM, time_is_up)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, earlier or signal.SIG_DFL)
        except _TimeUp as error:
            raise TimeLimit(reason(seconds, str(error))) from error


@contextmanager
def _watched(seconds: float, clock: Clock, unfinished: Unfinished) -> Iterator[None]:
    """Have this process end some time after `seconds`, unless the block ends before."""
    with TemporaryFile() as stacks:
        times = time.monotonic() + seconds, GRACE_SECONDS
        guard = subprocess.Popen(
            [sys.executable, "-m", "bench.measure.guard"]
            + [str(value) for value in (stacks.fileno(), os.getpid(), *times)],
            env=os.environ | child_environment(),
            stdin=subprocess.PIPE,
            pass_fds=[stacks.fileno()],
            start_new_session=True,  # signals are for this process; its end is that of the pipe
        )
        assert guard.stdin is not None
        pipe = guard.stdin

        def tell(line: str) -> None:
            with suppress(OSError):  # somebody ended it; the limit holds without
                pipe.write(f"{line}\n".encode())
                pipe.flush()

        orders = {
            "limit": seconds,
            "outputs": str(unfinished.outputs.resolve()),
            "folder": str(unfinished.folder.resolve()),
            "config": unfinished.config,
            "record": unfinished.record.model_dump(mode="json"),
        }
        try:
            # In a thread of C, which runs whatever holds the interpreter's lock.
            faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=stacks)
            tell(json.dumps(orders))
            tell(clock.current)
            clock.on_phase = tell
            yield
        finally:
            clock.on_phase = None
            faulthandler.cancel_dump_traceback_later()
            guard.kill()
            guard.wait()
            with suppress(OSError):
                pipe.close()
