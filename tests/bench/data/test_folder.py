"""Class folders under a name of their own."""

from pathlib import Path

import pytest

from bench.data import scan
from models.errors import BenchError
from tests.bench.data.images import write_tree


def config(root: Path, label: str | None = None) -> dict[str, object]:
    return {"name": "folder", "root": str(root), "label": label, "limit": None}


def test_a_class_missing_from_one_side_shifts_no_label(tmp_path: Path) -> None:
    tree = {"train/cat": 2, "train/dog": 1, "test/ant": 1, "test/dog": 2}
    root = write_tree(tmp_path / "pets", tree)
    train, test = scan(config(root), "train"), scan(config(root), "eval")
    assert train.labels.tolist() == [1, 1, 2]
    assert test.labels.tolist() == [0, 2, 2]
    assert (train.classes, test.classes) == (2, 2)
    assert test.files == ("ant/000.png", "dog/000.png", "dog/001.png")


def test_reported_name_is_the_label_or_the_folder(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", {"train/cat": 1, "val/cat": 1})
    assert scan(config(root), "eval").name == "pets"
    assert scan(config(root / "train" / ".."), "eval").name == "pets"
    named = scan(config(root, "cifar10-jpeg"), "eval")
    assert named.name == "cifar10-jpeg"
    assert named.fingerprint == scan(config(root), "eval").fingerprint


def test_test_is_preferred_to_val(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"train/a": 1, "val/a": 2, "test/a": 3})
    assert len(scan(config(root), "eval")) == 3


@pytest.mark.parametrize(("present", "missing"), [("train/a", "test"), ("val/a", "train")])
def test_both_sides_must_be_there(tmp_path: Path, present: str, missing: str) -> None:
    write_tree(tmp_path, {present: 1})
    for side in ("train", "eval"):
        with pytest.raises(BenchError) as caught:
            scan(config(tmp_path), side)
        assert f"no folder {str(tmp_path / missing)!r}; expected data.root/train" in str(
            caught.value
        )
