"""One process uploads at a time, takes every run once, and is gone at the end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench.tracking.uploads
from bench.tracking.uploads import Uploads, incomplete
from tests.waiting import wait_until


@pytest.fixture
def fake_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let a shell script stand for `-m bench.tracking.uploads PID`; its arguments are logged."""

    def install(body: str) -> Path:
        script, calls = tmp_path / "sync", tmp_path / "calls.txt"
        script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nshift 3\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setattr(bench.tracking.uploads, "sys", SimpleNamespace(executable=str(script)))
        return calls

    return install


def run_folders(tmp_path: Path, count: int) -> list[Path]:
    folders = [tmp_path / f"offline-run-{i}" for i in range(count)]
    for folder in folders:
        folder.mkdir()
    return folders


def test_uploads_take_every_run_once(tmp_path: Path, fake_sync: Callable[[str], Path]) -> None:
    calls = fake_sync('sleep 0.2; for run in "$@"; do touch "$run/run.wandb.synced"; done')
    folders = run_folders(tmp_path, 4)
    uploads = Uploads()
    for folder in folders:
        uploads.add(folder)
    assert uploads.finish(20) == []
    # The first goes alone; what came meanwhile goes together.
    assert calls.read_text().splitlines() == [
        f"-m bench.tracking.uploads {os.getpid()} {folders[0]}",
        f"-m bench.tracking.uploads {os.getpid()} " + " ".join(map(str, folders[1:])),
    ]


def test_uploads_that_fail_are_returned(tmp_path: Path, fake_sync: Callable[[str], Path]) -> None:
    fake_sync("exit 1")
    folders = run_folders(tmp_path, 2)
    uploads = Uploads()
    for folder in folders:
        uploads.add(folder)
    assert uploads.finish(20) == folders


def test_uploads_that_hang_are_given_up(tmp_path: Path, fake_sync: Callable[[str], Path]) -> None:
    fake_sync("echo $$ > $1/pid; exec sleep 60")
    (folder,) = run_folders(tmp_path, 1)
    uploads = Uploads()
    uploads.add(folder)
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        pass
    assert uploads.finish(0.1) == [folder]
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_nothing_to_upload() -> None:
    assert Uploads().finish(1) == []


def said(level: str, message: str, run: Path) -> str:
    path = run / "run-x.wandb"
    return json.dumps({"level": level, "msg": message, "sync_path": str(path)})


@pytest.mark.parametrize(
    ("level", "message", "lost"),
    [
        ("ERROR+4", "filestream: fatal error: filestream: failed to upload: 403", True),
        ("ERROR", "runfiles: CreateRunFiles returned error: returned error 403", True),
        ("ERROR", "sender: failed to log artifact: returned error 403", True),
        ("ERROR", "api: HTTP error", False),  # of a request that is made again
        ("ERROR", "featurechecker: failed to load features, all will be disabled", False),
        ("INFO", "filestream: sending request", False),
    ],
)
def test_which_errors_cost_a_part_of_a_run(
    tmp_path: Path, level: str, message: str, lost: bool
) -> None:
    first, second = run_folders(tmp_path, 2)
    elsewhere = tmp_path / "elsewhere" / "offline-run-7"
    lines = [said(level, message, first), said("ERROR", "sender: failed", elsewhere), "{", "1", ""]
    assert incomplete("\n".join(lines), [first, second]) == ([first] if lost else [])


def test_an_upload_does_not_outlive_the_process_that_wanted_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {HANGING!r}]); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "tied\n"
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(child), "the upload has ended")


HANGING = (
    "import os, time; from bench.tracking.uploads import _die_with; _die_with(os.getppid()); "
    "print('tied', flush=True); time.sleep(60)"
)


def alive(process: int) -> bool:
    """A process that ended and was not waited for, by a parent that is gone, is not alive."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_an_upload_whose_process_is_gone_does_not_begin() -> None:
    with pytest.raises(SystemExit):
        bench.tracking.uploads._die_with(2**22 + 1)  # more than Linux ever gives
