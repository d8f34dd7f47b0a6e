"""The help of `bench`."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.arguments import parser
from tests.bench.conftest import Finished


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_each_command_begins_a_line_with_its_help(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = parser().format_help()
    names = re.findall(r"^ {4}([a-z]+)(?: {2,}\S.*)?$", text, re.MULTILINE)
    with_help = re.findall(r"^ {4}([a-z]+) {2,}\S.*$", text, re.MULTILINE)
    assert names == with_help
    assert {"run", "table", "dashboard", "merge"} <= set(names)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "method=typo"),
        ("run", "method=typo", "--dry-run"),
        ("run", "--cfg", "job"),
        ("ls", "models"),
        ("validate", "demo"),
        ("status",),
        ("table", "demo"),
        ("compare", "demo"),
        ("recipe", "dfq"),
        ("ledger",),
        ("dashboard",),
        ("cite", "demo"),
        ("wandb", "report", "demo"),
        ("wandb", "artifacts", "demo"),
    ],
)
def test_a_folder_of_configs_that_is_not_there(
    bench_main: Callable[..., Finished], tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "nope"
    said = f"error: there is no folder {folder}; --config-dir names the one with your configs\n"
    assert bench_main(*words, "--config-dir", folder) == (2, "", said)


def _bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_command_that_ends_at_once_has_written_all_of_its_output() -> None:
    ended = _bench("ls", "experiments")
    assert ended.returncode == 0
    assert len(ended.stdout) > 4096  # more than one write of a pipe
    assert ended.stdout.endswith("\n")
    assert ended.stdout.count("\n") > 10


def test_a_command_that_ends_at_once_has_its_exit_status_and_its_line() -> None:
    ended = _bench("table", "dsg_resnet81")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "dsg_resnet18" in ended.stderr


def test_what_was_printed_before_an_error_is_not_lost() -> None:
    code = (
        "import sys; from bench import arguments, cli\n"
        "def failing(options):\n"
        "    sys.stdout.write('first\\n'); raise cli.BenchError('then')\n"
        "arguments._lazy = lambda module, function: failing\n"
        "sys.argv = ['bench', 'ls', 'models']\n"
        "cli.command()"
    )
    kept_back = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=kept_back)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "first\n", "error: then\n")


def test_a_reader_that_went_away_is_no_error() -> None:
    command = [sys.executable, "-m", "bench", "ls", "experiments"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["ls", "tables"], ["table", "dsg_resnet18", "--format", "csv"]])
def test_output_to_a_full_disk_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr == "error: the output cannot be written: No space left on device\n"
