"""Wall time by phase, with a bar on a terminal and a line now and then elsewhere."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from tqdm import tqdm

from methods.base import Progress

log = logging.getLogger(__name__)

_WORTH_A_LINE = 10  # seconds; what is shorter is in the cell's log only
_SILENCE = 30  # seconds without a line

_names: list[str] = []  # of the cells that are being measured, the innermost last
_speaking: list[threading.Event] = []  # one a phase that goes on, the innermost last
_turn = threading.Lock()  # no phase says a line once one inside it has begun


@contextmanager
def known_as(name: str) -> Iterator[None]:
    """Let lines on the progress of what is measured inside the block begin with `name`."""
    _names.append(name)
    try:
        yield
    finally:
        _names.pop()


class Clock:
    """Seconds spent in each named phase of one cell.

    current: the phase that goes on, or went on last. on_phase: called with each as it begins.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.current = "start"
        self.on_phase: Callable[[str], None] | None = None
        self._start = time.perf_counter()
        self._found = 0.0

    def add_found(self, seconds: float) -> None:
        """Count seconds of the current phase that an earlier cell has spent for this one too."""
        self.seconds[self.current] = self.seconds.get(self.current, 0.0) + seconds
        self._found += seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[Progress]:
        """Time a block; the callback it gets moves a bar that vanishes when the block ends."""
        start = time.perf_counter()
        self.current = name
        if self.on_phase is not None:
            self.on_phase(name)
        on_terminal = sys.stderr.isatty()
        bar = tqdm(desc=name, leave=False, disable=not on_terminal)
        said = ""

        def progress(done: int, total: int, loss: float | None = None) -> None:
            nonlocal said
            said = f" {done} of {total}" + ("" if loss is None else f", loss {loss:.4g}")
            bar.total = total
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            bar.update(done - bar.n)

        def line() -> str:
            return f"{name}{said}, {time.perf_counter() - start:.0f} s"

        try:
            with nullcontext() if on_terminal else _lines(line):
                yield progress
        finally:
            bar.close()
            seconds = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            lasting = seconds >= _WORTH_A_LINE and not on_terminal
            log.log(logging.INFO if lasting else logging.DEBUG, "  %s %.1f s", name, seconds)

    def rounded(self) -> dict[str, float]:
        """Return the seconds of each phase and of the whole."""
        total = time.perf_counter() - self._start + self._found
        return {name: round(s, 4) for name, s in {**self.seconds, "total": total}.items()}


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """Log a line now and then while the block lasts, but for a block inside it that does so."""
    ended = threading.Event()
    name = f"{_names[-1]}: " if _names and _names[-1] else ""

    def speak() -> None:
        while not ended.wait(_SILENCE):
            with _turn:
                if _speaking[-1:] == [ended]:
                    log.info("  %s%s", name, line())

    speaker = threading.Thread(target=speak, name="progress", daemon=True)
    with _turn:
        _speaking.append(ended)
    speaker.start()
    try:
        yield
    finally:
        with _turn:
            _speaking.remove(ended)
        ended.set()
        speaker.join()
