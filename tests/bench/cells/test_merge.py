"""Folders of results become one: copied whole, compared by every image, nothing overwritten."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cells.merge import Kind, Merged, merge
from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.tasks.classification import Classification, Correctness
from tests.bench.cells.test_store import locked_elsewhere, pending
from tests.spy import lines_of

Make = Callable[..., Result]
Put = Callable[..., Result]
A, B, C = (f"{letter}{'0' * 15}" for letter in "abc")
RIGHT = (True, True, False, True)


@pytest.fixture
def target(outputs: Path) -> Store:
    return Store(outputs)


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store(tmp_path / "one")


@pytest.fixture
def put(make_result: Make) -> Put:
    """Put a cell into a store that is right on the given images."""

    def write(
        store: Store,
        id: str,
        right: Sequence[bool] = RIGHT,
        seen: Sequence[bool] | None = None,
        **changes: Any,
    ) -> Result:
        top1, part = np.array(right), None if seen is None else np.array(seen)
        counts = {"correct": int(top1.sum()), "total": len(top1), "top1": 100 * float(top1.mean())}
        result = make_result(id, **{**counts, "correct_top5": len(top1), **changes})
        with store.lock(id, wait=False), store.writing(id) as folder:
            (folder / "log.txt").write_text(f"of {store.root.name}")
            if result.status == "done":
                top5 = np.arange(len(top1)) < (result.correct_top5 or 0)
                Classification().save(folder, Correctness(top1, top5, part))
            write_result(folder, result)
        return result

    return write


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def merged(source: Store, target: Store) -> Merged:
    """Merge one store, after a dry run that must foresee it and write nothing."""
    before = content(target.root)
    (foreseen,) = merge([source], target, dry_run=True)
    assert content(target.root) == before
    given = content(source.root)
    (done,) = merge([source], target, dry_run=False)
    assert content(source.root) == given
    assert (done.counts, done.lines) == (foreseen.counts, foreseen.lines)
    assert pending(target) == []
    return done


def counts(done: Merged) -> dict[str, int]:
    return {kind: count for kind, count in done.counts.items() if count}


def test_what_is_absent_is_copied_whole_and_once(source: Store, target: Store, put: Put) -> None:
    for id in (A, B):
        put(source, id)
    put(source, C, status="skipped", reason="no meaning", top1=None)
    put(target, B)
    known = content(target.folder(B))
    done = merged(source, target)
    assert (counts(done), done.lines) == ({"copied": 2, "known": 1}, [])
    assert content(target.folder(A)) == content(source.folder(A))
    assert content(target.folder(B)) == known
    assert counts(merged(source, target)) == {"known": 3}


@pytest.mark.parametrize(
    ("right", "changes", "said"),
    [
        (
            *((True, False, False, True), {}),
            "75.00 % (3/4, top-5 4) in {target}, 50.00 % (2/4, top-5 4) in {source}",
        ),
        (
            *((True, True, True, False), {}),
            "75.00 % (3/4, top-5 4) in {target}, 75.00 % (3/4, top-5 4) in {source}: "
            "2 images differ in top-1, 0 in top-5",
        ),
        (
            *(RIGHT, {"correct_top5": 3}),
            "75.00 % (3/4, top-5 4) in {target}, 75.00 % (3/4, top-5 3) in {source}",
        ),
        (
            *(RIGHT, {"status": "skipped", "reason": "no BatchNorm"}),
            "75.00 % (3/4, top-5 4) in {target}, skipped (no BatchNorm) in {source}",
        ),
    ],
)
def test_a_conflict_is_told_with_both_values_and_left(
    source: Store,
    target: Store,
    put: Put,
    right: tuple[bool, ...],
    changes: dict[str, Any],
    said: str,
) -> None:
    ours = put(target, A)
    put(source, A, right, **changes)
    known = content(target.folder(A))
    done = merged(source, target)
    values = said.format(target=target.root, source=source.root)
    assert counts(done) == {"conflict": 1}
    assert done.lines == [f"conflict: {A} {ours.label}: {values}"]
    assert content(target.folder(A)) == known


@pytest.mark.parametrize(
    ("ours", "theirs", "becomes"),
    [
        ("failed", "done", "replaced"),
        ("failed", "skipped", "replaced"),
        ("done", "failed", "known"),
        ("skipped", "failed", "known"),
        ("failed", "failed", "known"),
        ("skipped", "skipped", "known"),
        (None, "failed", "copied"),
    ],
)
def test_a_failed_record_gives_way(
    source: Store, target: Store, put: Put, ours: str | None, theirs: str, becomes: Kind
) -> None:
    if ours is not None:
        put(target, A, status=ours, reason="ours")
    put(source, A, status=theirs, reason="theirs")
    assert counts(merged(source, target)) == {becomes: 1}
    found = target.read(A)
    assert found is not None
    assert found.status == (ours if becomes == "known" else theirs)


def test_sources_are_compared_with_each_other(
    source: Store, target: Store, put: Put, tmp_path: Path
) -> None:
    other = Store(tmp_path / "two")
    put(source, A)
    put(source, B, status="failed", reason="no memory")
    put(other, A, (False, True, False, True))
    put(other, B)
    for dry_run in (True, False):
        first, second = merge([source, other], target, dry_run)
        assert counts(first) == {"copied": 2}
        assert counts(second) == {"conflict": 1, "replaced": 1}
    assert content(target.folder(A)) == content(source.folder(A))
    assert content(target.folder(B)) == content(other.folder(B))


def test_what_is_no_whole_result_is_skipped_and_counted(
    source: Store, target: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = lines_of(monkeypatch, "bench.cells.store", "warning")
    newer, damaged, linked, foreign = (f"{digit}{'0' * 15}" for digit in "1234")
    for id in (newer, damaged, linked, foreign):
        put(source, id)
    path = source.folder(newer) / "result.json"
    path.write_text(json.dumps({"schema_version": 99}))
    (source.folder(damaged) / "correct.npz").write_bytes(b"not zipped")
    (source.folder(linked) / "link.txt").symlink_to("/etc/hostname")
    (source.cells / "notes.txt").write_text("")
    (target.folder(foreign)).mkdir(parents=True)
    (target.folder(foreign) / "mine.txt").write_text("precious")
    done = merged(source, target)
    assert counts(done) == {"skipped": 5}
    assert [line.split(";")[0] for line in done.lines] == [
        f"skipped: {source.folder(damaged)}/correct.npz was altered: it is not the one of its "
        "record",
        f"skipped: {source.folder(linked)} holds a symbolic link",
        f"skipped: {target.folder(foreign)} holds no result.json",
    ]
    assert len(warned) == 2 * 2  # the dry run and the other one
    assert f"{path} is of a newer version of this project (schema 99, known is 3)" in warned[0]
    assert f"{source.cells}/notes.txt is no folder of a cell" in warned[1]
    assert [folder.name for folder in target.cells.iterdir()] == [foreign]
    assert (target.folder(foreign) / "mine.txt").read_text() == "precious"


def test_a_cell_that_a_process_measures_is_left_to_it(
    source: Store, target: Store, put: Put
) -> None:
    put(source, A)
    put(source, B)
    with locked_elsewhere(target, A):
        (done,) = merge([source], target, dry_run=False)
    assert counts(done) == {"busy": 1, "copied": 1}
    assert done.lines[0].startswith(f"busy: {A} ")
    assert counts(merged(source, target)) == {"copied": 1, "known": 1}


def test_a_kill_leaves_nothing_half(
    source: Store, target: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source, A)
    put(source, B)

    def dying(folder: Path, new: Path, dirs_exist_ok: bool) -> None:
        shutil.copy(folder / "result.json", new)
        if folder.name == B:
            os._exit(9)
        shutil.copy(folder / "correct.npz", new)
        shutil.copy(folder / "log.txt", new)

    monkeypatch.setattr(shutil, "copytree", dying)
    child = os.fork()
    if child == 0:
        merge([source], target, dry_run=False)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert [result.id for result in target.results()] == [A]
    assert pending(target) == [f"{B}.new"]
    (done,) = merge([source], target, dry_run=False)
    assert counts(done) == {"known": 1, "copied": 1}
    assert content(target.cells) == content(source.cells)
    assert pending(target) == []


def test_the_caches_that_a_copied_cell_names_come_along(
    source: Store, target: Store, put: Put
) -> None:
    put(source, A, calibration_key="1" * 16)
    put(source, B, calibration_key="1" * 16)
    put(source, C, calibration_key="../../../cells")
    (source.folder(A) / "training.json").write_text(json.dumps({"key": "2" * 16, "epochs": []}))
    (source.folder(B) / "training.json").write_text(json.dumps(["no", "mapping"]))
    kept = source.root / "cache"
    for place in ("calibration/1/images.safetensors", "training/2/trained.safetensors"):
        kind, key, name = place.split("/")
        (kept / kind / (key * 16)).mkdir(parents=True)
        (kept / kind / (key * 16) / name).write_text(place)
    (kept / "calibration" / ("3" * 16)).mkdir()
    (kept / "calibration" / ("3" * 16) / "images.safetensors").write_text("of no cell here")
    done = merged(source, target)
    assert (counts(done), done.cache_entries) == ({"copied": 3}, 2)
    assert content(target.root / "cache") == {
        f"calibration/{'1' * 16}/images.safetensors": b"calibration/1/images.safetensors",
        f"calibration/{'1' * 16}/lock": b"",
        f"training/{'2' * 16}/trained.safetensors": b"training/2/trained.safetensors",
        f"training/{'2' * 16}/lock": b"",
    }


def test_the_one_that_has_seen_more_images_stays(source: Store, target: Store, put: Put) -> None:
    half = {"right": (True, False), "seen": (True, False, True, False), "part_of": 4}
    put(source, A)
    put(target, A, **half)
    put(source, B, **half)
    put(target, B)
    assert counts(merged(source, target)) == {"replaced": 1, "known": 1}
    assert content(target.folder(A)) == content(source.folder(A))
    put(target, A, **(half | {"right": (True, True)}))
    done = merged(source, target)
    assert counts(done) == {"conflict": 1, "known": 1}
    assert done.lines[0].endswith("1 images differ in top-1, 0 in top-5")
