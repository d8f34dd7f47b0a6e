"""Waiting for what another process does: no longer than it takes, and on a busy machine long."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, seconds: float = 200.0) -> None:
    """Look again and again until `condition` is true; fail when it is not after `seconds`.

    what: the condition in words, for the message of a failure.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.02)
