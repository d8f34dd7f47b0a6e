"""Wall time by phase, with a bar on a terminal and silence elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from methods.base import Progress

log = logging.getLogger(__name__)

_WORTH_A_LINE = 10  # seconds; what is shorter is in the cell's log only


class Clock:
    """Seconds spent in each named phase of one cell.

    current: the phase that goes on, or went on last. on_phase: called with each as it begins.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.current = "start"
        self.on_phase: Callable[[str], None] | None = None
        self._start = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[Progress]:
        """Time a block; the callback it gets moves a bar that vanishes when the block ends."""
        start = time.perf_counter()
        self.current = name
        if self.on_phase is not None:
            self.on_phase(name)
        bar = tqdm(desc=name, leave=False, disable=not sys.stderr.isatty())

        def progress(done: int, total: int, loss: float | None = None) -> None:
            bar.total = total
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            bar.update(done - bar.n)

        try:
            yield progress
        finally:
            bar.close()
            seconds = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            lasting = seconds >= _WORTH_A_LINE and not sys.stderr.isatty()
            log.log(logging.INFO if lasting else logging.DEBUG, "  %s %.1f s", name, seconds)

    def rounded(self) -> dict[str, float]:
        """Return the seconds of each phase and of the whole."""
        total = time.perf_counter() - self._start
        return {name: round(s, 4) for name, s in {**self.seconds, "total": total}.items()}
