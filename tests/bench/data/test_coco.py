"""COCO-format folders: what counts as COCO's evaluation has it, and mistakes in one line."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_masks
from PIL import Image

from bench.data import ImageCache, decode, scan
from bench.data.datasets import known_set
from bench.statistics.average_precision import Detections, coco_numbers
from models.errors import BenchError
from models.preprocessing import Preprocessing

SQUARE = Preprocessing(32, 32, "bilinear", (0.0,) * 3, (1.0,) * 3, fit="letterbox")

Content = dict[str, Any]


def annotations() -> Content:
    """Three images, the second without an object; ids with gaps, a crowd, and a box outside."""
    return {
        "images": [
            {"id": 70, "file_name": "c.png", "width": 64, "height": 48},
            {"id": 9, "file_name": "a.png", "width": 30, "height": 40},
            {"id": 12, "file_name": "b.png", "width": 20, "height": 20},
        ],
        "categories": [{"id": 3, "name": "bird"}, {"id": 90, "name": "boat"}, {"id": 5}],
        "annotations": [
            {"id": 1, "image_id": 70, "category_id": 90, "bbox": [1.5, 2, 10, 20], "area": 111},
            {"id": 2, "image_id": 70, "category_id": 3, "bbox": [50, 40, 30, 30], "iscrowd": 1},
            {"id": 3, "image_id": 9, "category_id": 3, "bbox": [0, 0, 0, 5], "iscrowd": 0},
        ],
    }


def write(root: Path, content: Content | None = None, side: str = "val2017") -> Path:
    (root / side).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    file = root / "annotations" / f"instances_{side}.json"
    file.write_text(json.dumps(annotations() if content is None else content))
    for name, size, colour in (("a", (30, 40), 10), ("b", (20, 20), 20), ("c", (64, 48), 30)):
        Image.new("RGB", size, (colour,) * 3).save(root / side / f"{name}.png")
    return root


def config(root: Path, **options: object) -> dict[str, object]:
    return {"name": "coco", "root": str(root), **options}


def test_images_and_their_objects(tmp_path: Path) -> None:
    listing = scan(config(write(tmp_path)), "eval")
    assert (listing.name, listing.files) == ("coco", ("a.png", "b.png", "c.png")), "by image id"
    assert listing.sizes is not None and listing.truths is not None
    assert listing.sizes.tolist() == [[30, 40], [20, 20], [64, 48]]
    assert (listing.classes, listing.outputs, listing.labels.tolist()) == (2, None, [0, 0, 0])
    a, b, c = listing.truths
    assert b.boxes.shape == (0, 4) and len(b.classes) == len(b.crowd) == len(b.areas) == 0
    assert c.boxes.tolist() == [[1.5, 2, 10, 20], [50, 40, 30, 30]]
    assert (c.classes.tolist(), c.crowd.tolist()) == ([90, 3], [False, True])
    assert c.areas.tolist() == [111, 900], "that of the box where there is no other"
    assert a.areas.tolist() == [0]
    # What is outside counts as it is, and a box without area can be found by none.
    found = [
        Detections(t.boxes.astype(np.float32), np.ones(len(t.boxes), np.float32), t.classes)
        for t in listing.truths
    ]
    numbers = coco_numbers(listing.truths, found)
    assert (numbers["map"], numbers["map_50"]) == (pytest.approx(50.0), pytest.approx(50.0))


def test_pixels_are_letterboxed(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    listing = scan(config(root), "eval")
    images = decode(listing, config(root), SQUARE, ImageCache(tmp_path / "cache"))
    pixels = images.pixels(slice(None))
    assert pixels.shape == (3, 3, 32, 32)
    assert (pixels[1] == 20).all()
    assert (pixels[0, :, :, :24] == 10).all() and (pixels[0, :, :, 24:] == 0).all()
    assert (pixels[2, :, :24] == 30).all() and (pixels[2, :, 24:] == 0).all()


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("val", "annotations/instances_val.json"),
        ("val", "annotations/val.json"),
        ("test", "test.json"),
        ("val2014", "val2014/_annotations.coco.json"),
    ],
)
def test_other_layouts(tmp_path: Path, folder: str, file: str) -> None:
    root = write(tmp_path / "birds", side=folder)
    (root / "annotations" / f"instances_{folder}.json").rename(root / file)
    assert scan(config(root), "eval").name == "birds"
    assert scan(config(root, label="boats"), "eval").name == "boats"
    with pytest.raises(BenchError, match=r"no folder train2017 or train2014 or train in"):
        scan(config(root), "train")


def test_the_fingerprint_is_of_pixels_and_objects(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one"), write(tmp_path / "two", side="val")
    expected = scan(config(first), "eval").fingerprint
    assert scan(config(second), "eval").fingerprint == expected, "names are not in it"
    content = annotations()
    content["annotations"][0]["iscrowd"] = 1
    write(second, content, "val")
    assert scan(config(second), "eval").fingerprint != expected
    Image.new("RGB", (20, 20), (21,) * 3).save(first / "val2017" / "b.png")
    assert scan(config(first), "eval").fingerprint != expected


def test_a_limit_keeps_objects_with_their_images(tmp_path: Path) -> None:
    root = write(tmp_path)
    whole, few = scan(config(root), "eval"), scan(config(root, limit=2), "eval")
    assert whole.truths is not None and few.truths is not None and few.sizes is not None
    for name, truth, size in zip(few.files, few.truths, few.sizes.tolist(), strict=True):
        place = whole.files.index(name)
        assert truth is whole.truths[place] and size == whole.sizes[place].tolist()  # type: ignore[index]


def test_a_folder_is_known_again_until_its_annotations_change(tmp_path: Path) -> None:
    root, cache = write(tmp_path / "set"), tmp_path / "cache"
    listing = scan(config(root), "eval", cache)
    known = known_set(config(root), "eval", cache)
    assert known is not None and known.identity is not None
    assert (known.images, known.identity.fingerprint) == (3, listing.fingerprint)
    content = annotations()
    del content["annotations"][0]
    write(root, content)
    changed = known_set(config(root), "eval", cache)
    assert changed is not None and changed.identity is not None
    assert changed.identity.fingerprint == scan(config(root), "eval").fingerprint
    assert changed.identity.fingerprint != listing.fingerprint


def test_annotations_of_images_that_are_not_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = annotations()
    content["images"] = content["images"][1:]
    with caplog.at_level(logging.WARNING, "bench.data.annotations"):
        listing = scan(config(write(tmp_path, content)), "eval")
    assert listing.files == ("a.png", "b.png"), "and files that are not named do not count"
    assert "annotations of 1 images that it does not list" in caplog.text


MISTAKES: dict[str, tuple[str, Any, str]] = {
    "a box of nothing": ("annotations", {"bbox": [1, 2, -3, 4]}, r"annotation 1 of '.*' has the b"),
    "a box of three": ("annotations", {"bbox": [1, 2, 3]}, r"has the box \[1, 2, 3\], and left"),
    "area": (
        "annotations",
        {"area": -5},
        r"annotation 1 of '.*' has the area -5, and square pixels",
    ),
    "no area": ("annotations", {"area": float("nan")}, r"has the area nan, and square pixels are"),
    "same name": ("images", {"file_name": "b.png"}, r"has two images with the name 'b.png'; list"),
    "NaN": ("annotations", {"bbox": [1, float("nan"), 3, 4]}, r"has the box \[1, nan, 3, 4\]"),
    "category": ("annotations", {"category_id": 7}, r"has the category 7, which is not among"),
    "empty": ("images", {"width": 0}, r"the image 'c.png' of '.*' is 0 x 48 pixels large"),
    "same id": ("images", {"id": 12}, r"has two images with the id 12; give each its own"),
    "absent": ("images", {"file_name": "d.png"}, r"names images that are not in '.*': d.png; put"),
    "elsewhere": ("images", {"file_name": "../d.png"}, r"names the image '../d.png', which is not"),
    "no number": ("images", {"id": "x"}, r"is no COCO file of objects: invalid literal"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_that_names_the_file(tmp_path: Path, mistake: str) -> None:
    part, change, message = MISTAKES[mistake]
    content = annotations()
    content[part][0] |= change
    root = write(tmp_path, content)
    with pytest.raises(BenchError, match=message) as caught:
        scan(config(root), "eval")
    assert "instances_val2017.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            r"cannot read annotations from .*instances_val2017.json.: Expecting .*; fetch or write",
        ),
        ('{"images": []}', r"is no COCO file of objects: something lacks 'categories'; it has"),
        ("[]", r"is no COCO file of objects: list indices must be"),
        (json.dumps(annotations() | {"images": []}), r"instances_val2017.json' lists no images"),
    ],
)
def test_files_that_are_no_annotations(tmp_path: Path, text: str, message: str) -> None:
    root = write(tmp_path)
    (root / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(BenchError, match=message):
        scan(config(root), "eval")


def test_no_annotations_at_all(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(
        BenchError, match=r"^no annotations of '.*val2017'; expected data\.root/val"
    ):
        scan(config(root), "eval")


def test_an_image_of_another_size_than_its_annotations_say(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    Image.new("RGB", (48, 64)).save(root / "val2017" / "c.png")
    listing, cache = scan(config(root), "eval"), ImageCache(tmp_path / "cache")
    with pytest.raises(BenchError, match=r"'c\.png' .* it is 48 x 64 pixels large, and 64 x 48 by"):
        decode(listing, config(root), SQUARE, cache)
    skipping = config(root, skip_bad=True)
    images = decode(listing, skipping, SQUARE, cache)
    assert images.listing.files == ("a.png", "b.png") and images.listing.left_out == ("c.png",)
    assert images.listing.truths is not None and len(images.listing.truths) == 2


def with_shapes() -> Content:
    """The same, each object with a mask: a polygon, run lengths of the crowd, nothing inside."""
    content = annotations()
    runs = {"size": [48, 64], "counts": [60 * 48, 4 * 48]}
    for annotation, shape in zip(
        content["annotations"], ([[1, 2, 11, 2, 11, 22, 1, 22]], runs, [[0, 0, 0, 5]]), strict=True
    ):
        annotation["segmentation"] = shape
    return content


def test_masks_are_known_where_they_are_rated(tmp_path: Path) -> None:
    root = write(tmp_path, with_shapes())
    write(tmp_path, with_shapes(), "train2017")
    listing, training = (scan(config(root), side) for side in ("eval", "train"))
    assert listing.truths is not None and training.truths is not None
    assert [truth.masks for truth in training.truths] == [None] * 3
    a, b, c = (truth.masks for truth in listing.truths)
    assert a is not None and b is not None and c is not None
    assert (len(a), len(b)) == (1, 0)
    assert [(mask["size"], int(coco_masks.area(dict(mask)))) for mask in c] == [
        ([48, 64], 10 * 20),
        ([48, 64], 4 * 48),
    ]


def test_masks_are_a_part_of_the_set(tmp_path: Path) -> None:
    first = scan(config(write(tmp_path / "one")), "eval")
    second = scan(config(write(tmp_path / "two", with_shapes())), "eval")
    content = with_shapes()
    content["annotations"][0]["segmentation"][0][2] = 12
    third = scan(config(write(tmp_path / "three", content)), "eval")
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3


def test_where_only_some_objects_have_masks_none_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = with_shapes()
    del content["annotations"][1]["segmentation"]
    with caplog.at_level(logging.WARNING, "bench.data.annotations"):
        listing = scan(config(write(tmp_path, content)), "eval")
    assert listing.truths is not None
    assert [truth.masks for truth in listing.truths] == [None] * 3
    assert "1 of 3 annotations of" in caplog.text and "the first of them 2, have" in caplog.text


def test_a_mask_that_is_none_is_one_line_that_names_the_annotation(tmp_path: Path) -> None:
    content = with_shapes()
    content["annotations"][1]["segmentation"]["size"] = [64, 48]
    with pytest.raises(
        BenchError,
        match=r"^annotation 2 of '.*val2017.json' has run lengths of the size \[64, 48\]",
    ):
        scan(config(write(tmp_path, content)), "eval")
