"""Processes that tests start, without four seconds of imports for each.

A server is started once for each worker of pytest: it has imported what `bench run` imports, and
forks. What it forks goes on as Python would with its command line, and ends as Python ends; so all
but its start is what a user sees: exit status, signals, process group, /proc, what it writes and
where, and its own children, which are Pythons from the start.

The rule: a test starts by `subprocess` and `sys.executable` where the start is its subject - what
is imported, from where, and before what; encodings; streams that are closed or that nobody reads;
limits that a process inherits; packaging. All else that imports PyTorch is a `Process`, which by
itself is a true Python where a variable differs that is only read at the start.
"""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from io import FileIO
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

_ENVIRONMENT = dict(os.environ)  # before any test changes it

# How names of variables begin that Python, or a library that is loaded with it, reads only then.
# Others of the kind, such as KMP_INIT_AT_FORK, are set by libraries themselves when imported here.
_READ_AT_START = ("PYTHON", "OMP_", "GOMP_", "LC_", "LANG", "LD_")


class Process:
    """`python *line` in a session of its own, with the names of `subprocess.Popen`.

    Its number stays its own until its end was seen here.
    """

    def __init__(
        self, line: Sequence[str], cwd: str | Path = ".", env: Mapping[str, str] = os.environ
    ) -> None:
        self.returncode: int | None = None
        self._true: subprocess.Popen[bytes] | None = None
        pipes = [os.pipe(), os.pipe()]
        out, err = (writer for _, writer in pipes)
        if _of_start(env) == _of_start(_ENVIRONMENT):
            self.pid: int = _ask((tuple(line), str(Path(cwd).resolve()), dict(env)), out, err)
        else:
            self._true = subprocess.Popen(
                [sys.executable, *line],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self.pid = self._true.pid
        self._streams = [FileIO(reader) for reader, _ in pipes]
        self._texts = [bytearray(), bytearray()]
        for reader, writer in pipes:
            os.close(writer)
            os.set_blocking(reader, False)

    def poll(self) -> int | None:
        """Return the exit status, of a signal its negative number, or None while it runs."""
        self._read()
        if self.returncode is None:
            self.returncode = self._true.poll() if self._true else _ask(self.pid)
        return self.returncode

    @property
    def said(self) -> str:
        """What it has written to stdout until now."""
        self._read()
        return self._texts[0].decode()

    def wait(self, timeout: float = 300) -> int:
        """Return the exit status; raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            self._not_after(deadline)
        return status

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Return what it, and those that it has started, write to stdout and stderr to the end.

        Raises as `wait`.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None or not self._read():
            self._not_after(deadline)
        out, err = (text.decode() for text in self._texts)
        return out, err

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> bool:
        """Take what is written, so that nobody waits; return whether no more can come."""
        ended = True
        for stream, text in zip(self._streams, self._texts, strict=True):
            while part := stream.read(1 << 16):
                text += part
            ended &= part is not None
        return ended

    def _not_after(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(str(self.pid), 0, *map(bytes, self._texts))
        time.sleep(0.01)


def _of_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


@cache
def _server() -> Connection:
    """Start the server, which ends with this process."""
    here, there = Pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(there.fileno())],
        cwd=Path(__file__).parent.parent,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        pass_fds=[there.fileno()],
        start_new_session=True,  # an interrupt is for pytest
    )
    there.close()

    def end() -> None:
        here.close()
        process.wait()

    atexit.register(end)
    return here


def _ask(message: Any, *files: int) -> Any:
    connection = _server()
    connection.send(message)
    for file in files:
        send_handle(connection, file, None)
    return connection.recv()
