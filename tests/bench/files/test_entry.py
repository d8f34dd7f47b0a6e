"""An entry of the cache is whole or absent, and copied whole."""

import json
import logging
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from bench.files.entry import CacheEntry
from bench.files.kinds import (
    CALIBRATION,
    CHECKPOINT,
    CONTENTS,
    CURVE,
    DATA,
    GRAM,
    GRAMS,
    HISTORY,
    IDENTITY,
    IMAGES,
    KINDS,
    LEARNED,
    PIXELS,
    PREVIEW,
    ROUNDED,
    SEARCH,
    SENSITIVITY,
    TRAINING,
    WEIGHTS,
    Kind,
)
from models.errors import BenchError
from tests.bench.files.test_caches import DAY, A, B, C, elsewhere, files, filled, write

KEYS = {CONTENTS: "e" * 16, DATA: "d" * 64, CALIBRATION: A, GRAM: C, SENSITIVITY: B}
KEYS |= {ROUNDED: B, SEARCH: A, TRAINING: C}


def entry_of(cache: Path, kind: Kind) -> CacheEntry:
    return CacheEntry(cache, kind, KEYS[kind])


@pytest.mark.parametrize(
    ("kind", "path", "whole", "lock"),
    [
        (
            CONTENTS,
            f"contents/{'e' * 16}.npz",
            f"contents/{'e' * 16}.npz",
            f"contents/{'e' * 16}.lock",
        ),
        (DATA, f"data/{'d' * 64}", f"data/{'d' * 64}", f"data/{'d' * 64}.lock"),
        (CALIBRATION, f"calibration/{A}", f"calibration/{A}/{IMAGES}", f"calibration/{A}/lock"),
        (GRAM, f"grams/{C}", f"grams/{C}/{GRAMS}", f"grams/{C}/lock"),
        (ROUNDED, f"rounded/{B}", f"rounded/{B}/{LEARNED}", f"rounded/{B}/lock"),
        (SENSITIVITY, f"sensitivity/{B}.json", f"sensitivity/{B}.json", f"sensitivity/{B}.lock"),
        (TRAINING, f"training/{C}", f"training/{C}/{WEIGHTS}", f"training/{C}/lock"),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_where_an_entry_lies(tmp_path: Path, kind: Kind, path: str, whole: str, lock: str) -> None:
    entry = entry_of(tmp_path, kind)
    assert (entry.path, entry.lock_path) == (tmp_path / path, tmp_path / lock)
    assert not entry.is_whole
    write(tmp_path / whole, 1)
    assert entry.is_whole


@pytest.mark.parametrize("key", ["", "a" * 15, "A" * 16, "../../../cells", f"{'a' * 16}/"])
def test_a_key_that_is_none_names_no_entry(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="names no entry of a cache"):
        CacheEntry(tmp_path, CALIBRATION, key)


def test_a_name_of_another_kind_is_refused(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, CALIBRATION)
    assert entry.file(CURVE) == entry.path / "curve.json"
    with pytest.raises(ValueError, match=r"an entry of calibration has no file 'history\.json'"):
        entry.file(HISTORY)
    for name in (PREVIEW, CURVE):
        write(entry.file(name), 1)
    assert entry.existing_files() == [entry.file(CURVE), entry.file(PREVIEW)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_is_made_once_and_by_one_at_a_time(tmp_path: Path, kind: Kind) -> None:
    entry, made = entry_of(tmp_path, kind), []

    def read() -> str | None:
        return "there" if entry.is_whole else None

    def make() -> str:
        with pytest.raises(Timeout), entry.locked(wait=False):
            pass
        made.append(kind)
        entry.complete(lambda path: path.write_text("content"))
        return "made"

    assert [entry.read_or_make(read, make) for _ in range(2)] == ["made", "there"]
    assert len(made) == 1
    with entry.locked(wait=False):  # it is free again
        pass


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_fails_while_it_is_made_leaves_nothing(tmp_path: Path, kind: Kind) -> None:
    entry = entry_of(tmp_path, kind)

    def fail(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), entry.locked():
        entry.complete(fail)
    assert not entry.is_whole
    assert files(tmp_path) == {str(entry.lock_path.relative_to(tmp_path))}


def test_checksums_are_of_what_makes_it_whole_and_of_what_belongs_to_it(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, CALIBRATION)
    with entry.locked():
        entry.write(CURVE, "[1.0]")
        entry.complete(lambda path: path.write_bytes(b"abc"))
        sums = json.loads((entry.path / "checksums.json").read_bytes())
        assert list(sums) == [IMAGES, CURVE]
        abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert sums[IMAGES] == abc
        assert entry.read(entry.file(CURVE).read_text) == "[1.0]"


@pytest.mark.parametrize(
    ("kind", "names", "left"),
    [
        (CALIBRATION, (IMAGES, CURVE, PREVIEW), set()),
        (TRAINING, (WEIGHTS, HISTORY, IDENTITY, CHECKPOINT), {IDENTITY, CHECKPOINT}),
        (DATA, (PIXELS,), set()),
    ],
    ids=["calibration", "training", "data"],
)
def test_a_damaged_entry_is_removed_and_said_in_one_line(
    tmp_path: Path,
    kind: Kind,
    names: tuple[str, ...],
    left: set[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "bench")
    entry = entry_of(tmp_path, kind)

    def load() -> None:
        raise ValueError

    for name in names:
        write(entry.file(name), 10)
    with entry.locked():
        assert entry.read(load) is None
    assert caplog.messages == [f"warning: {kind.damaged % entry.path}"]
    assert not entry.is_whole
    assert files(entry.path) - {"lock"} == left


def test_a_checksum_that_does_not_fit_is_damage_and_none_is_believed(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, CALIBRATION)
    with entry.locked():
        entry.complete(lambda path: path.write_bytes(b"abc"))
        entry.file(IMAGES).write_bytes(b"abd")
        assert entry.read(lambda: "read") is None
        entry.file(IMAGES).write_bytes(b"abd")  # as an earlier version wrote it
        assert entry.read(lambda: "read") == "read"


def test_an_error_that_is_no_damage_is_raised(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, TRAINING)
    write(entry.file(WEIGHTS), 10)

    def load() -> None:
        raise RuntimeError("no memory")

    with entry.locked(), pytest.raises(RuntimeError, match="no memory"):
        entry.read(load)
    assert entry.is_whole


def test_what_cannot_be_read_right_after_it_was_made(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, TRAINING)
    assert entry.reread("content") == "content"
    with pytest.raises(BenchError, match="is damaged as soon as it is written; check the disk"):
        entry.reread(None)


def test_leftovers_go_when_an_entry_is_made_those_of_the_living_stay(tmp_path: Path) -> None:
    mine, dead, alive = (CacheEntry(tmp_path, DATA, key * 64) for key in "123")
    for entry in (mine, dead, alive):
        write(entry.path.with_suffix(".partial") / PIXELS, 10)
    write(tmp_path / "data" / "notes.partial", 1)
    with FileLock(alive.lock_path):
        mine.read_or_make(lambda: None, lambda: "made")
    assert files(tmp_path / "data") - {e.lock_path.name for e in (mine, dead, alive)} == {
        f"{'3' * 64}.partial/{PIXELS}",
        "notes.partial",
    }


def test_a_whole_entry_is_copied_once(tmp_path: Path) -> None:
    cache, other = filled(tmp_path / "cache"), tmp_path / "other"
    for kind, names in (
        (CALIBRATION, {"images.safetensors", "curve.json", "lock"}),
        (TRAINING, {"trained.safetensors", "lock"}),
    ):
        one = entry_of(cache, kind)
        assert one.copy_to(other)
        assert files(other / kind.name / KEYS[kind]) == names
        assert not one.copy_to(other)
        copied = entry_of(other, kind).usage()
        assert copied.size_bytes == one.usage().size_bytes
        assert copied.used_at > 1000 * DAY  # now, not when it was made


def test_what_is_not_copied(tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other"
    write(cache / "training" / B / "checkpoint.pt", 10)
    write(cache / "calibration" / A / "images.safetensors", 10)
    assert not CacheEntry(cache, TRAINING, B).copy_to(other)  # unfinished
    assert not CacheEntry(cache, CALIBRATION, C).copy_to(other)  # not there
    for kind in (DATA, SENSITIVITY):  # they are made again
        assert not entry_of(filled(tmp_path / "full"), kind).copy_to(other)
    (other / "calibration" / A).mkdir(parents=True)
    with elsewhere(
        "from filelock import FileLock; held = FileLock(sys.argv[1]); held.acquire()",
        other / "calibration" / A / "lock",
    ):
        assert not entry_of(cache, CALIBRATION).copy_to(other)
    assert entry_of(cache, CALIBRATION).copy_to(other)
