import base64
from pathlib import Path

import numpy as np
import pytest

from bench.cells.result_file import Damaged
from bench.cells.store import Store
from bench.dashboard.wrong import bitmap, image_set
from bench.data import scan
from models.errors import BenchError
from tests.bench.dashboard.examples import example, write
from tests.bench.data.images import write_tree

CLASSES = ("cat", "dog")
RIGHT = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1], dtype=bool)


def test_the_first_image_is_the_highest_bit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, result := example("a", RIGHT), RIGHT)
    assert base64.b64decode(bitmap(store, result)) == bytes([0b10000001, 0b10100000])


def test_a_bitmap_that_is_not_the_records_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, example("a", RIGHT), ~RIGHT)
    with pytest.raises(Damaged, match=r"has 7 \(top-5: 11\) of 11 images right and its record 4"):
        bitmap(store, example("a", RIGHT))
    with pytest.raises(BenchError, match=r"holds no result\.json, so its items mean nothing"):
        bitmap(store, example("b", RIGHT))


def test_images_are_named_when_they_are_those_that_were_evaluated(tmp_path: Path) -> None:
    data = {"name": "mnist5k", "limit": 20}
    listing = scan(data, "eval")
    said = image_set(data, listing.fingerprint, tmp_path)
    assert said is not None
    assert said["files"] == list(listing.files)
    assert said["labels"] == listing.labels.tolist()
    assert said["classes"] == {}  # all digits lie in one place
    assert image_set(data, "other", tmp_path) is None
    for absent in ({"name": "folder", "root": "/nowhere"}, {"name": "no such set"}):
        assert image_set(absent, listing.fingerprint, tmp_path) is None


def test_classes_are_named_by_their_folders(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{side}/{name}": 2 for side in ("train", "val") for name in CLASSES})
    data = {"name": "folder", "root": str(tmp_path)}
    listing = scan(data, "eval")
    said = image_set(data, listing.fingerprint, tmp_path / "cache")
    assert said is not None
    assert listing.earlier is not None
    assert image_set(data, listing.earlier, tmp_path / "cache") == said
    assert image_set(data, "other", tmp_path / "cache") is None
    assert said["classes"] == {0: "cat", 1: "dog"}
    assert said["labels"] == [0, 0, 1, 1]
