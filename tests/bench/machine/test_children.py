"""What child processes import; that it works is shown in `tests/bench/test_shadowing.py`."""

import os
import site
import sys
from pathlib import Path

import pytest

import bench
from bench.machine.children import child_environment, environment, import_last_from

PROJECT = str(Path(bench.__file__).parents[1])


def test_this_project_comes_before_what_the_user_has_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/a", "", PROJECT]))
    expected = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join([PROJECT, "/a"])}
    assert child_environment() == expected


def test_where_it_is_installed_nothing_comes_before_the_standard_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda: [PROJECT])
    monkeypatch.setenv("PYTHONPATH", "/a")
    assert child_environment()["PYTHONPATH"] == "/a"


def test_a_folder_comes_last_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["/a"])
    import_last_from(tmp_path)
    import_last_from(str(tmp_path))
    assert sys.path == ["/a", str(tmp_path)]


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_A", "1")
    monkeypatch.setenv("BENCH_B", "2")
    with environment({"BENCH_A": "3", "BENCH_B": None, "BENCH_C": "4"}):
        assert (os.environ["BENCH_A"], os.environ["BENCH_C"]) == ("3", "4")
        assert "BENCH_B" not in os.environ
    assert (os.environ["BENCH_A"], os.environ["BENCH_B"]) == ("1", "2")
    assert "BENCH_C" not in os.environ
