"""A process that is forked for a test is what a Python of its own would be."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.processes import Process
from tests.waiting import wait_until

SHOW = """
import os, sys
print(sys.argv, os.getcwd(), os.environ.get("OF_A_TEST"), "torch" in sys.modules)
print("é", file=sys.stderr)
sys.exit(3)
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variable", "forked"),
    [("OF_A_TEST", True), ("KMP_INIT_AT_FORK", True), ("OMP_NUM_THREADS", False)],
)
def test_it_has_its_line_folder_and_environment(
    tmp_path: Path, variable: str, forked: bool
) -> None:
    process = Process(["-c", SHOW, "a b"], tmp_path, os.environ | {variable: "2"})
    out, err = process.communicate()
    value = "2" if variable == "OF_A_TEST" else None
    assert out == f"{['-c', 'a b']} {tmp_path} {value} {forked}\n"
    assert (err, process.returncode) == ("é\n", 3)


def test_it_may_be_killed_with_its_group() -> None:
    code = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    process = Process(["-c", code])
    wait_until(lambda: process.said.endswith("\n"), "it has started another")
    assert process.poll() is None
    assert os.getpgid(int(process.said)) == os.getsid(process.pid) == process.pid
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.communicate() == (process.said, "")
    assert process.returncode == -signal.SIGKILL


def test_it_never_waits_for_its_reader() -> None:
    process = Process(["-c", "print('x' * 300_000)"])
    assert process.wait() == 0
    assert process.said == "x" * 300_000 + "\n"


def test_an_error_is_said_and_its_status_one() -> None:
    process = Process(["-c", "import atexit; atexit.register(print, 'last'); 1 / 0"])
    out, err = process.communicate()
    assert (out, process.returncode) == ("last\n", 1)
    assert err.endswith("ZeroDivisionError: division by zero\n")
