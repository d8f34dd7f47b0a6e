"""The identity of a set, and the part of it that `limit` and `subset` keep."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.data import Listing, Side, scan
from bench.data.listing import fingerprint_of
from models.errors import BenchError
from tests.bench.data.images import write_image, write_tree


def folder_config(root: Path, **options: object) -> dict[str, object]:
    return {"name": "folder", "root": str(root), "label": "toy", **options}


def test_a_fingerprint_tells_its_parts_apart() -> None:
    assert fingerprint_of(("ab", "c")) != fingerprint_of(("a", "bc"))
    assert fingerprint_of(("a", 1)) == fingerprint_of(("a", "1"))


def test_a_fingerprint_is_of_content_and_labels(tmp_path: Path) -> None:
    """In the order of the names; by hand."""
    root = write_tree(tmp_path / "set", {"train/b": 1, "test/a": 1, "test/b": 2})
    files = ("a/000.png", "b/000.png", "b/001.png")
    sums = [hashlib.sha256((root / "test" / name).read_bytes()).hexdigest() for name in files]
    sizes = [(root / "test" / name).stat().st_size for name in files]
    one = scan(folder_config(root), "eval")
    assert one.files == files
    assert one.fingerprint == fingerprint_of([sums[0], 0, sums[1], 1, sums[2], 1])
    names_and_sizes = [files[0], sizes[0], 0, files[1], sizes[1], 1, files[2], sizes[2], 1]
    assert one.earlier == fingerprint_of(names_and_sizes)
    # A part is known by what it has, not by how it was chosen.
    part = scan(folder_config(root, limit=2), "eval")
    kept = [files.index(name) for name in part.files]
    chosen = [p for i in kept for p in (sums[i], (0, 1, 1)[i])]
    assert part.fingerprint == fingerprint_of(chosen)
    assert part.earlier == fingerprint_of((one.earlier, "limit", 0, 2))


def test_fingerprint_moves_with_the_folder_and_stamp_does_not(tmp_path: Path) -> None:
    here = write_tree(tmp_path / "here", {"train/a": 2, "test/a": 2, "test/b": 1})
    there = Path(shutil.copytree(here, tmp_path / "there"))
    os.utime(there / "test/a/000.png", (1, 1))
    first, second = (scan(folder_config(root), "eval") for root in (here, there))
    assert first.fingerprint == second.fingerprint
    assert first.stamp != second.stamp
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize("change", ["exchange", "rewrite", "resize", "relabel", "add"])
def test_fingerprint_changes_with_content_labels_and_count(tmp_path: Path, change: str) -> None:
    root = write_tree(tmp_path / "set", {"train/b": 1, "test/b": 3})
    before = scan(folder_config(root), "eval")
    first, second = root / "test/b/000.png", root / "test/b/001.png"
    if change == "exchange":
        contents = first.read_bytes(), second.read_bytes()
        first.write_bytes(contents[1])
        second.write_bytes(contents[0])
    elif change == "rewrite":
        times = first.stat()
        first.write_bytes(bytes(times.st_size))
        os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "resize":
        write_image(root / "test/b/000.png", width=40)
    elif change == "relabel":
        write_image(root / "train/a/000.png")
    else:
        write_image(root / "test/b/003.png")
    assert scan(folder_config(root), "eval").fingerprint != before.fingerprint


def test_a_new_name_in_the_same_order_is_the_same_set(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/b": 1, "test/b": 3})
    before = scan(folder_config(root), "eval")
    (root / "test/b/000.png").rename(root / "test/b/0.png")
    after = scan(folder_config(root), "eval")
    assert after.fingerprint == before.fingerprint
    assert after.earlier != before.earlier


def test_modification_time_changes_only_the_stamp(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 1, "test/a": 2})
    before = scan(folder_config(root), "eval")
    os.utime(root / "test/a/001.png", ns=(1, 1))
    after = scan(folder_config(root), "eval")
    assert (after.fingerprint, after.files) == (before.fingerprint, before.files)
    assert after.stamp != before.stamp


def test_labels_cannot_be_written(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 1, "test/a": 2})
    with pytest.raises(ValueError, match="read-only"):
        scan(folder_config(root), "eval").labels[0] = 1


def test_limit_keeps_the_same_images_everywhere_and_is_nested() -> None:
    few, more = (scan({"name": "mnist5k", "limit": n}, "eval") for n in (5, 100))
    assert few.files == (
        "mnist5k/test/02915",
        "mnist5k/test/02968",
        "mnist5k/test/02979",
        "mnist5k/test/03408",
        "mnist5k/test/03900",
    )
    assert set(few.files) < set(more.files)
    assert list(more.files) == sorted(more.files)
    assert more.classes == 10
    assert (few.labels == [int(name[-5:]) // 500 for name in few.files]).all()
    assert few.fingerprint != more.fingerprint


def test_limit_of_everything_is_no_limit_and_leaves_train_whole(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2})
    whole = scan(folder_config(root), "eval")
    assert scan(folder_config(root, limit=4), "eval").fingerprint == whole.fingerprint
    limited = scan(folder_config(root, limit=1), "eval")
    assert (len(limited), limited.classes) == (1, 1)
    assert limited.stamp == whole.stamp
    assert len(scan(folder_config(root, limit=1), "train")) == 6
    with pytest.raises(BenchError, match=r"data\.limit=5 is more than the 4 images"):
        scan(folder_config(root, limit=5), "eval")


def digits(subset: int | None, side: Side = "train") -> Listing:
    return scan({"name": "mnist5k", "subset": subset}, side)


@pytest.mark.usefixtures("_digits_read_once")
def test_subset_is_spread_over_the_classes_nested_and_the_same_everywhere() -> None:
    few, more, most = (digits(n) for n in (12, 100, 3999))
    # Per class the least sha256 of seed and name; then the least two of the second ones.
    places = (15, 559, 1022, 1854, 2237, 2646, 2760, 3046, 3530, 3712, 4024, 4890)
    assert few.files == tuple(f"mnist5k/train/{place:05d}" for place in places)
    assert np.bincount(more.labels).tolist() == [10] * 10
    assert sorted(np.bincount(most.labels).tolist()) == [399] + [400] * 9
    assert set(few.files) < set(more.files) < set(most.files)
    for one in (few, more, most):
        assert list(one.files) == sorted(one.files)
        assert (one.labels == [int(name[-5:]) // 500 for name in one.files]).all()
        assert (one.classes, one.outputs, one.side) == (10, 10, "train")


def test_subset_takes_what_a_small_class_has(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 2, "train/b": 9, "train/c": 9, "test/a": 1})

    def counts(subset: int) -> list[int]:
        labels = scan(folder_config(root, subset=subset), "train").labels
        return np.bincount(labels, minlength=3).tolist()

    assert [counts(n) for n in (3, 6, 10, 20)] == [[1, 1, 1], [2, 2, 2], [2, 4, 4], [2, 9, 9]]
    assert sorted(counts(8)) == [2, 3, 3]
    for n in range(1, 20):
        a, b, c = counts(n)
        assert a + b + c == n and abs(b - c) <= 1 and a >= min(2, b - 1)


@pytest.mark.usefixtures("_digits_read_once")
def test_subset_of_everything_is_no_subset_and_the_eval_side_stays_whole() -> None:
    whole = digits(None)
    assert digits(4000).fingerprint == whole.fingerprint
    assert len({digits(n).fingerprint for n in (None, 99, 100)}) == 3
    assert digits(99).stamp == whole.stamp
    assert digits(99, "eval").fingerprint == digits(None, "eval").fingerprint
    with pytest.raises(BenchError, match=r"data\.subset=4001 is more than the 4000 images"):
        digits(4001)


def test_outputs_count_classes_without_images_too(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 2, "train/c": 2, "test/b": 2})
    for side, classes in (("train", 2), ("eval", 1)):
        listing = scan(folder_config(root), side)
        assert (listing.classes, listing.outputs) == (classes, 3)
