import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.cells.result import Result
from bench.cells.result_file import Damaged, write_result
from bench.cells.store import Busy, Store
from bench.files.whole import write_whole
from models.errors import BenchError
from tests.spy import lines_of

Make = Callable[..., Result]
A, B = "aaaa000000000001", "aaaa000000000002"


@pytest.fixture
def store(outputs: Path) -> Store:
    return Store(outputs)


def put(store: Store, result: Result) -> None:
    with store.lock(result.id, wait=False), store.writing(result.id) as folder:
        write_result(folder, result)


def stored(result: Result | None) -> dict[str, Any]:
    """What was given to be stored, without the checksums."""
    assert result is not None
    return result.model_dump(exclude={"checksum", "correct_sha256"})


def pending(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "pending").glob("*"))


@contextmanager
def locked_elsewhere(store: Store, id: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that holds the lock of a cell until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from bench.cells.store import Store\n"
        "with Store(Path(sys.argv[1])).lock(sys.argv[2], wait=False):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(store.root), id]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_reading_creates_nothing(store: Store) -> None:
    assert store.read(A) is None
    assert store.results() == []
    store.clean()
    assert not store.root.exists()


def test_a_record_comes_back(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    assert stored(store.read(A)) == stored(make_result(A))
    assert [stored(result) for result in store.results()] == [stored(make_result(A))]
    assert pending(store) == []


def test_a_failed_first_write_leaves_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match="full"), store.writing(A) as folder:
        (folder / "result.json").write_text("{")
        raise ValueError("full")
    assert store.read(A) is None
    assert pending(store) == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_record(
    store: Store, make_result: Make, error: type[BaseException]
) -> None:
    put(store, make_result(A))
    with pytest.raises(error), store.writing(A) as folder:
        (folder / "result.json").write_text("{")
        raise error
    assert stored(store.read(A)) == stored(make_result(A))
    assert pending(store) == []


def test_a_new_record_replaces_the_old_one_with_all_its_files(
    store: Store, make_result: Make
) -> None:
    put(store, make_result(A))
    store.write_note(A, "tracking", {"run": "x"})
    put(store, make_result(A, correct=8))
    found = store.read(A)
    assert found is not None
    assert found.correct == 8
    assert store.read_note(A, "tracking") is None
    assert pending(store) == []


def test_a_kill_between_the_two_renames_loses_nothing(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    put(store, make_result(B))
    store.folder(A).rename(store.root / "pending" / f"{A}.old")  # killed here: no new one came
    store.clean()
    assert stored(store.read(A)) == stored(make_result(A))
    assert pending(store) == []


def test_after_both_renames_the_new_record_counts(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    old = store.root / "pending" / f"{A}.old"
    old.mkdir()
    write_result(old, make_result(A, correct=1))
    store.clean()
    assert stored(store.read(A)) == stored(make_result(A))
    assert pending(store) == []


def test_the_next_holder_of_the_lock_removes_what_a_killed_one_left(store: Store) -> None:
    for name in (f"{A}.new", f"{A}.note", f"{A}.run", f"{B}.new"):
        (store.root / "pending" / name / "inner").mkdir(parents=True)
    with store.lock(A, wait=False):
        assert pending(store) == [f"{B}.new"]


def test_clean_leaves_what_a_living_process_writes(store: Store) -> None:
    for id in (A, B):
        (store.root / "pending" / f"{id}.new").mkdir(parents=True)
    with locked_elsewhere(store, A):
        (store.root / "pending" / f"{A}.new").mkdir()  # taking the lock removed the first
        store.clean()
        assert pending(store) == [f"{A}.new"]
    store.clean()
    assert pending(store) == []


def test_the_lock_excludes_another_process_until_it_is_killed(store: Store) -> None:
    with locked_elsewhere(store, A) as other:
        with pytest.raises(Busy), store.lock(A, wait=False):
            pass
        with store.lock(B, wait=False):
            pass
        os.kill(other.pid, signal.SIGKILL)
        with store.lock(A, wait=True):
            pass


def test_the_lock_is_free_again_after_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="x"), store.lock(A, wait=False):
        raise ValueError("x")
    with store.lock(A, wait=False):
        pass


@pytest.mark.parametrize("prefix", [A, A[:-1], "a"])
def test_find_one(store: Store, make_result: Make, prefix: str) -> None:
    put(store, make_result(A))
    put(store, make_result("b" * 16))
    assert store.find(prefix).id == A


@pytest.mark.parametrize("prefix", ["aaaa", A[:-1]])
def test_find_several(store: Store, make_result: Make, prefix: str) -> None:
    put(store, make_result(A))
    put(store, make_result(B))
    with pytest.raises(BenchError) as error:
        store.find(prefix)
    assert str(error.value) == (
        f"2 cells under {store.cells} with an id that starts with {prefix!r}; "
        "`bench status` lists them"
    )


@pytest.mark.parametrize("prefix", ["", "c", "*", "a*", "a**", "/", "../", "[a]", "?"])
def test_find_none(store: Store, make_result: Make, prefix: str) -> None:
    put(store, make_result(A))
    with pytest.raises(BenchError) as error:
        store.find(prefix)
    assert str(error.value) == (
        f"no cell under {store.cells} with an id that starts with {prefix!r}; "
        "`bench status` lists them"
    )


def test_find_a_folder_without_a_record(store: Store) -> None:
    store.folder(A).mkdir(parents=True)
    with pytest.raises(BenchError, match=r"holds no result.json; remove the folder$"):
        store.find(A)


AGAIN = "the next run of the cell measures it again and puts this folder aside"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not whole"),
        (b'{"id": "aaaa', "is not whole"),
        (b"[]", "is not a result file of this version (1 keys do not fit)"),
        (b'{"a": 1}', "is not a result file of this version (15 keys do not fit)"),
        (b'{"schema_version": 1}', "is not a result file of this version (14 keys do not fit)"),
        (b"\xff\xfe\x00", "is not whole"),
    ],
)
def test_a_record_that_is_none_is_one_clear_line(store: Store, content: bytes, said: str) -> None:
    store.folder(A).mkdir(parents=True)
    (store.folder(A) / "result.json").write_bytes(content)
    with pytest.raises(Damaged) as error:
        store.read(A)
    assert str(error.value) == f"{store.folder(A)}/result.json {said}; {AGAIN}"
    assert store.finished(A) is None


def test_a_record_in_the_folder_of_another_cell(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    store.folder(A).rename(store.folder(B))
    with pytest.raises(Damaged, match=f"is the record of another cell, {A}; the next run of the"):
        store.read(B)


def test_a_record_of_a_newer_version(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    path = store.folder(A) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99, "new": 1}))
    with pytest.raises(BenchError) as error:
        store.finished(A)
    assert not isinstance(error.value, Damaged), "it is not to be measured again"
    assert str(error.value) == (
        f"{path} is of a newer version of this project (schema 99, known is 3); update the project "
        "to read it"
    )


def test_what_is_no_record_is_named_and_counted(
    store: Store, make_result: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_of(monkeypatch, "bench.cells.store", "warning")
    put(store, make_result(B))
    store.folder(A).mkdir()
    (store.folder(A) / "result.json").write_text("{}")
    (store.cells / ".DS_Store").write_text("")
    (store.cells / "empty").mkdir()
    (store.cells / "file.txt").write_text("")
    (store.cells / "folder" / "result.json").mkdir(parents=True)
    found = store.inventory()
    assert [result.id for result in found.results] == [B]
    assert found.left_out == [
        f"{store.folder(A)}/result.json is not a result file of this version (14 keys do not fit); "
        f"{AGAIN}",
        f"{store.cells}/empty holds no result.json: half-written, or foreign",
        f"{store.cells}/file.txt is no folder of a cell",
        f"{store.cells}/folder/result.json cannot be read: Is a directory",
    ]
    assert lines == [f"warning: not counted: {line}" for line in found.left_out]
    assert found.note() == (
        "4 entries are not counted: no whole result of this version, see the warnings"
    )


def test_nothing_is_left_out(store: Store, make_result: Make) -> None:
    put(store, make_result(A))
    found = store.inventory()
    assert ([r.id for r in found.results], found.left_out) == ([A], [])
    assert store.inventory().note() is None


def test_notes(store: Store, make_result: Make) -> None:
    assert store.read_note(A, "tracking") is None
    put(store, make_result(A))
    for content in ({"run": "x"}, {"run": "y", "n": 1}):
        store.write_note(A, "tracking", content)
        assert store.read_note(A, "tracking") == content
    assert pending(store) == []
    (store.folder(A) / "tracking.json").write_text('{"run": "')
    assert store.read_note(A, "tracking") is None


def test_scratch_is_empty_each_time(store: Store) -> None:
    folder = store.scratch(A, "run")
    (folder / "x").write_text("")
    assert store.scratch(A, "run") == folder
    assert list(folder.iterdir()) == []


def test_write_whole_replaces_or_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_whole(path, "old")
    write_whole(path, "new")
    assert path.read_text() == "new"

    def full(self: Path, target: Path) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "newer")
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]
    assert path.read_text() == "new"
