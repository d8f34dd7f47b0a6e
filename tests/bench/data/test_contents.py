"""Files are read once, and again when they are others."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import scan
from bench.data.contents import SetIdentity
from bench.data.datasets import PACKAGED, KnownSet, known_set
from models.errors import BenchError
from tests.bench.data.images import write_tree


class Reads:
    """Lists the evaluation side of a tree, and counts the files that are read for it."""

    def __init__(self, place: Path) -> None:
        counts = {"train/a": 1, "train/b": 1, "test/a": 3, "test/b": 4}
        self.root, self.cache = write_tree(place / "set", counts), place / "outputs" / "cache"
        self.read: list[str] = []

    def config(self, **options: object) -> dict[str, object]:
        return {"name": "folder", "root": str(self.root), **options}

    def __call__(self, **options: object) -> tuple[str, int]:
        self.read.clear()
        listing = scan(self.config(**options), "eval", self.cache)
        return listing.fingerprint, len(self.read)

    def known(self, **options: object) -> KnownSet | None:
        self.read.clear()
        return known_set(self.config(**options), "eval", self.cache)


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    reads, read_bytes = Reads(tmp_path), Path.read_bytes

    def counted(path: Path) -> bytes:
        reads.read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    yield reads


def exchanged(reads: Reads) -> None:
    one, other = (reads.root / "test" / name for name in ("a/000.png", "b/000.png"))
    aside = reads.root / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def written_into(reads: Reads) -> None:
    """With the times it had, as some copying programs do."""
    for name in ("a/000.png", "a/001.png"):
        file = reads.root / "test" / name
        times = file.stat()
        file.write_bytes(bytes(times.st_size))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_file_is_read_once(reads: Reads) -> None:
    first, count = reads()
    assert count == 7
    assert reads() == (first, 0)
    assert reads(limit=7) == (first, 0)
    part, count = reads(limit=3)
    assert part != first
    assert count == 0


def test_of_a_part_no_other_file_is_read(reads: Reads) -> None:
    assert reads(limit=3)[1] == 3
    assert reads(limit=3)[1] == 0
    assert reads(limit=5)[1] == 2


@pytest.mark.parametrize("change", [exchanged, written_into])
def test_files_that_are_others_are_read_again(
    reads: Reads, change: Callable[[Reads], None]
) -> None:
    before, _ = reads()
    change(reads)
    after, count = reads()
    assert (after != before, count) == (True, 2)
    assert reads() == (after, 0)


def test_a_moved_folder_is_known_and_a_copied_one_is_the_same(reads: Reads) -> None:
    before, _ = reads()
    here = reads.root
    reads.root = here.rename(here.with_name("moved"))
    assert reads() == (before, 0)
    reads.root = Path(shutil.copytree(reads.root, here.with_name("copied")))
    assert reads() == (before, 7)


def test_damaged_checksums_are_found_again(reads: Reads) -> None:
    before, _ = reads()
    (file,) = (reads.cache / "contents").glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert reads() == (before, 7)
    file.write_bytes(b"")
    assert reads() == (before, 7)


def test_where_nothing_can_be_kept_files_are_read_each_time(reads: Reads) -> None:
    reads.cache.parent.write_text("a file")
    assert reads() == reads()


def test_a_file_that_cannot_be_read_is_named(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        BenchError, match=r"cannot read image 'a/000\.png' of the eval side of 'set'"
    ):
        reads()


def test_what_is_known_of_a_set(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = scan(reads.config(), "eval")
    whole = KnownSet(7, SetIdentity(listing.fingerprint, listing.earlier))
    # Of a folder that nobody has listed yet: what is small is read.
    assert (reads.known(), len(reads.read)) == (whole, 7)
    assert (reads.known(), reads.read) == (whole, [])
    assert reads.known(limit=7) == whole
    part = reads.known(limit=3)
    assert part is not None and part.images == 7 and part.identity != whole.identity
    assert reads.known(limit=8) is None
    # Known without looking at a file, until one comes, goes or is renamed.
    monkeypatch.setattr("bench.data.datasets.with_contents", None)
    assert reads.known() == whole
    monkeypatch.undo()
    exchanged(reads)
    assert reads.known() != whole

    monkeypatch.setattr("bench.data.datasets._QUICK_BYTES", 100)
    shutil.rmtree(reads.cache)
    assert reads.known() is None
    reads()
    assert reads.known() is not None
    reads.root = reads.root / "nowhere"
    assert reads.known() is None


@pytest.mark.usefixtures("_digits_read_once")
def test_packaged_sets_are_as_large_as_is_said(tmp_path: Path) -> None:
    for side, count in PACKAGED["mnist5k"].items():
        assert len(scan({"name": "mnist5k"}, side)) == count
        assert known_set({"name": "mnist5k"}, side, tmp_path) == KnownSet(count, None)
    assert PACKAGED["cifar10"] == {"train": 50_000, "eval": 10_000}


def test_files_that_are_other_pixels_now_have_no_earlier_fingerprint(reads: Reads) -> None:
    assert scan(reads.config(), "eval").earlier is not None
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(reads.root / "test/b/003.png")
    assert scan(reads.config(), "eval").earlier is None
    assert scan(reads.config(), "train").earlier is not None
