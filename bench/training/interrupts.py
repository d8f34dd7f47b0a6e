"""Signals that end a process, held back until what it is doing is kept, or sent in time.

A cluster sends one before it takes a node away or a job's time is over: Slurm through submitit
SIGUSR2 (or what SUBMITIT_PREEMPT_SIGNAL says), others SIGTERM.
"""

import os
import signal
import threading
import time
from functools import cache
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
_LOOK_SECONDS = 0.5


@cache
def end_with(parent: int) -> None:
    """Send this process SIGTERM soon after `parent`, its parent, has ended, however that came."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    # A thread, because the kernel's signal of a dead parent means the thread that started this one.
    threading.Thread(target=watch, daemon=True).start()


class HeldSignals:
    """A context in which such signals wait: see `methods.training.surroundings.Interrupts`.

    What would have happened without it happens when they are delivered, at the latest when the
    block ends. Python has signals in the main thread only; in another nothing is held.
    """

    def __init__(self) -> None:
        self._earlier: dict[int, signal._HANDLER] = {}
        self._came: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not None:  # None: not Python's, cannot be put back
                    self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        for number in self._came:
            signal.raise_signal(number)

    @property
    def waiting(self) -> bool:
        return bool(self._came)

    def deliver(self) -> None:
        """Let what the signals ask for happen; returns when that did not end the process."""
        while self._came:
            number = self._came.pop(0)
            signal.signal(number, self._earlier[number])
            signal.raise_signal(number)
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
