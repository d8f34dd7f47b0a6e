"""Signals wait until they are delivered, and then mean what they meant before."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bench.training.interrupts import HeldSignals

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


@pytest.fixture
def seen() -> Iterator[list[int]]:
    """The signals that arrived at handlers that were there before."""
    found: list[int] = []
    before = {s: signal.signal(s, lambda number, frame: found.append(number)) for s in SIGNALS}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_they_wait_until_they_are_delivered(seen: list[int]) -> None:
    with HeldSignals() as held:
        held.deliver()
        assert not held.waiting
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR2)
        assert held.waiting and seen == []
        held.deliver()
        assert not held.waiting and seen == [signal.SIGTERM, signal.SIGUSR2]
        signal.raise_signal(signal.SIGUSR2)  # what did not end the process is held again
        assert held.waiting and len(seen) == 2
    assert seen == [signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2]
    signal.raise_signal(signal.SIGUSR1)
    assert seen[3:] == [signal.SIGUSR1]


def test_a_handler_may_end_the_process(seen: list[int]) -> None:
    def leave(number: int, frame: object) -> None:
        raise SystemExit(3)

    signal.signal(signal.SIGUSR2, leave)
    with pytest.raises(SystemExit), HeldSignals() as held:
        signal.raise_signal(signal.SIGUSR2)
        held.deliver()
    assert signal.getsignal(signal.SIGUSR2) is leave


def test_without_a_handler_the_process_dies_of_it() -> None:
    code = (
        "import signal\nfrom bench.training.interrupts import HeldSignals\n"
        "with HeldSignals() as held:\n    signal.raise_signal(signal.SIGTERM)\n"
        "    print('kept', flush=True)\n    held.deliver()\n    print('never')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "kept\n")


def test_another_thread_holds_nothing(seen: list[int]) -> None:
    def run() -> None:
        with HeldSignals() as held:
            waited.append(held.waiting)

    waited: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert waited == [False]
    assert signal.getsignal(signal.SIGTERM) is before
