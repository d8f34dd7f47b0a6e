"""Labels come from the synset, never from the folder's position."""

import shutil
from pathlib import Path

import pytest

from bench.data import scan
from bench.data.imagenet import synsets
from models.errors import BenchError
from tests.bench.data.images import write_image, write_tree

TREE = {"val/n15075141": 1, "val/n01443537": 2, "val/n02099601": 1, "train/n01440764": 1}


def config(root: Path) -> dict[str, object]:
    return {"name": "imagenet", "root": str(root), "limit": None}


def test_synsets_are_imagenet_1k_in_output_order() -> None:
    names = synsets()
    assert (len(names), len(set(names))) == (1000, 1000)
    assert list(names) == sorted(names)
    anchors = {"n01440764": 0, "n01443537": 1, "n02099601": 207, "n15075141": 999}
    assert {name: names.index(name) for name in anchors} == anchors


def test_labels_of_a_subset_of_the_classes(tmp_path: Path) -> None:
    listing = scan(config(write_tree(tmp_path, TREE)), "eval")
    assert listing.name == "imagenet"
    assert listing.files == (
        "n01443537/000.png",
        "n01443537/001.png",
        "n02099601/000.png",
        "n15075141/000.png",
    )
    assert listing.labels.tolist() == [1, 1, 207, 999]
    assert listing.labels.dtype == "int64"
    assert listing.classes == 3
    assert scan(config(tmp_path), "train").labels.tolist() == [0]


def test_root_may_be_the_evaluation_folder_itself_and_is_the_same_set(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    inner = scan(config(tmp_path / "val"), "eval")
    assert inner.fingerprint == scan(config(tmp_path), "eval").fingerprint
    with pytest.raises(BenchError, match=r"no folder .*val/train'; expected data\.root/train/"):
        scan(config(tmp_path / "val"), "train")


def test_files_that_are_no_images_are_left_out(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    before = scan(config(tmp_path), "eval")
    (tmp_path / "val/n01443537/notes.txt").write_text("x")
    (tmp_path / "val/n01443537/._000.png").write_text("x")
    (tmp_path / "val/list.csv").write_text("x")
    (tmp_path / "val/.hidden").mkdir()
    write_image(tmp_path / "val/n02099601/001.JPEG")
    after = scan(config(tmp_path), "eval")
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "no folder"),
        ({"val/n00000001": 1}, "val/n00000001' is not a class of 'imagenet'"),
        ({"val/goldfish": 1}, "val/goldfish' is not a class of 'imagenet'"),
        ({"val/n01440764/images": 1}, "unexpected folder"),
        ({"val/n01440764": 1, "val/n01443537": 0}, "no images in"),
        ({"val": 2}, "no class folders in"),
        ({"train/n01440764": 1}, "no folder"),
    ],
)
def test_any_other_layout_is_refused_and_the_right_one_told(
    tmp_path: Path, tree: dict[str, int], message: str
) -> None:
    for folder in tree:
        (tmp_path / folder).mkdir(parents=True)
    write_tree(tmp_path, tree)
    with pytest.raises(BenchError) as caught:
        scan(config(tmp_path), "eval")
    line = str(caught.value)
    assert message in line and str(tmp_path / "val") in line
    assert "expected data.root/val/SYNSET/*.JPEG" in line and "\n" not in line


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    (tmp_path / "val/n01443537/002.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(BenchError, match=r"cannot read '.*n01443537/002.png'"):
        scan(config(tmp_path), "eval")


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    before = scan(config(tmp_path), "eval")
    shutil.move(tmp_path / "val/n15075141", tmp_path / "elsewhere")
    (tmp_path / "val/n15075141").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert scan(config(tmp_path), "eval").fingerprint == before.fingerprint
