"""Text for the terminal or a file, and one line where it cannot be written."""

import errno
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.console import _TerminalHandler, flush_or_drop, prepare_streams, put, write
from models.errors import BenchError


def test_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    put("one\ntwo\n", None)
    put("", None)
    assert capsys.readouterr().out == "one\ntwo\n"


def test_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "table.md"
    put("one\ntwo\n", file)
    assert file.read_text() == "one\ntwo\n"
    assert capsys.readouterr().out == f"wrote {file}\n"


@pytest.mark.parametrize("name", [".", "sub"])
def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError) as caught:
        write("text", Path(name))
    assert str(caught.value) == f"cannot write {name}: it is a folder; name a file"
    assert [path.name for path in tmp_path.rglob("*")] == ["sub"]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    file = tmp_path / "file" / "sub" / "table.md"
    with pytest.raises(BenchError) as caught:
        write("text", file)
    assert str(caught.value) == f"cannot write {file}: Not a directory; name another file"
    assert (tmp_path / "file").read_text() == "kept"


def test_what_cannot_be_written_at_the_end_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    flush_or_drop()
    with sys.stdout:
        assert sys.stdout.name == "/dev/null"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EPIPE, ""),
        (errno.ENOSPC, "warning: the output cannot be written: No space left on device\n"),
    ],
)
def test_a_log_line_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, said: str
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", Closed())
    for _ in range(2):
        _TerminalHandler().handle(logging.makeLogRecord({"msg": "a line"}))
    with sys.stdout:
        assert sys.stdout.name == "/dev/null"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_of_few_characters(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    prepare_streams()
    put("a \u2260 b\udcff", None)
    sys.stdout.flush()
    assert written.getvalue() == b"a ? b?\n"


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&- 2>&-", "<&-", "2>&-"])
def test_streams_that_were_closed_lead_nowhere(tmp_path: Path, closed: str) -> None:
    """As a daemon's are: a file that is opened later is not written to by who means stdout."""
    code = (
        "import os, subprocess, sys; from bench.console import prepare_streams\n"
        "prepare_streams()\n"
        "with open('file', 'w') as file:\n"
        "    print('out', flush=True); print('err', file=sys.stderr, flush=True)\n"
        "    done = subprocess.run(['sh', '-c', 'echo out && echo err >&2'])\n"
        "    file.write(f'{file.fileno() > 2} {done.returncode} {sys.stdin.read()!r}')\n"
    )
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        check=False,
    )
    assert (tmp_path / "file").read_text() == "True 0 ''"
    out, err = ("", "") if ">&- 2>&-" in closed else ("out\n" * 2, "err\n" * 2)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "" if closed == "2>&-" else err)
