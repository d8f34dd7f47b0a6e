"""Processes that were started here are found and ended, and no others."""

import os
import signal
import subprocess
import sys

from bench.machine.processes import descendants, kill

# Starts one more process, says its number, and waits as that one does.
PARENT = (
    "import subprocess, sys; code = 'import time; time.sleep(60)'; "
    "child = subprocess.Popen([sys.executable, '-c', code]); print(child.pid, flush=True); "
    "child.wait()"
)


def test_children_and_theirs() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        below = int(parent.stdout.readline())
        assert {each.pid for each in descendants(os.getpid())} >= {parent.pid, below}
        (child,) = descendants(parent.pid)
        assert child.pid == below
        kill(child)
        assert parent.wait(10) == 0
    assert descendants(parent.pid) == []


def test_only_the_process_that_was_looked_at_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        (child,) = [each for each in descendants(os.getpid()) if each.pid == process.pid]
        ident, child._ident = child._ident, (child.pid, 0.0)  # as of another of the same number
        kill(child)
        assert process.poll() is None
        child._ident, child._pid_reused, child._gone = ident, False, False
        kill(child)
        assert process.wait(10) == -signal.SIGKILL
    kill(child)  # gone
