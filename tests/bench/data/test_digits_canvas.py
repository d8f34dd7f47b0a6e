"""Digits on canvases: the same everywhere, boxes where the digits are, no digit on both sides."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bench.data import scan
from bench.data.datasets import PACKAGED, known_set
from bench.data.digits_canvas import DigitsCanvas, canvases
from bench.data.mnist5k import read_digits, split
from bench.data.options import Options
from bench.statistics.average_precision import Detections, coco_numbers


def test_the_pixels_are_the_same_on_every_machine() -> None:
    images, truths = canvases("eval")
    assert images.shape == (500, 3, 96, 96) and images.dtype == np.uint8
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "ba90df9406c8325b0d1302f71e65a45a42a57e1007561811a0a0c60c1b154ea3"
    counts = np.bincount([len(truth.boxes) for truth in truths])
    assert counts.tolist() == [0, 92, 108, 98, 98, 104]
    classes = np.bincount(np.concatenate([truth.classes for truth in truths]))
    assert classes.tolist() == [0, 165, 141, 151, 134, 159, 162, 144, 156, 145, 157]


def test_boxes_lie_inside_and_hardly_overlap() -> None:
    for truth in canvases("eval").truths:
        low, high = truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]
        assert (low >= 0).all() and (high <= 96).all()
        sides = truth.boxes[:, 2:]
        assert (sides.min(axis=1) >= 4).all() and not truth.crowd.any()
        assert np.array_equal(truth.areas, sides.prod(axis=1))
        for one in range(len(low)):
            for other in range(one):
                shared = np.minimum(high[one], high[other]) - np.maximum(low[one], low[other])
                area = np.clip(shared, 0, None).prod()
                assert area <= 0.11 * min(truth.areas[one], truth.areas[other])


def test_a_box_holds_its_digit_and_nothing_else() -> None:
    """Along each edge of a box there is ink, and its colour is told from what is around."""
    images, truths = canvases("eval")
    alone = [place for place, truth in enumerate(truths) if len(truth.boxes) == 1]
    for place in alone[:40]:
        left, top, width, height = truths[place].boxes[0].astype(int)
        pixels = images[place].astype(int)
        inside = pixels[:, top : top + height, left : left + width]
        outside = np.ones((96, 96), dtype=bool)
        outside[top : top + height, left : left + width] = False
        around = pixels[:, outside]
        # What is around varies by the two colours of the texture and by grain.
        near, far = around.min(axis=1) - 1, around.max(axis=1) + 1
        ink = ((inside < near[:, None, None]) | (inside > far[:, None, None])).any(axis=0)
        assert ink.mean() > 0.05
        for edge in (ink[:3], ink[-3:], ink[:, :3], ink[:, -3:]):
            assert edge.any(), place


def test_no_digit_is_on_both_sides() -> None:
    _, labels = read_digits()
    assert not set(split(labels, "train")) & set(split(labels, "eval"))


def test_listing_and_pixels() -> None:
    listing = scan({"name": "digits_canvas"}, "eval")
    assert len(listing) == PACKAGED["digits_canvas"]["eval"] == 500
    assert listing.files[7] == "digits_canvas/test/00007" and listing.classes == 10
    assert listing.truths == canvases("eval").truths and listing.sizes is None
    read = DigitsCanvas(Options("digits_canvas")).reader(listing)
    expected = canvases("eval").images[7].transpose(1, 2, 0)
    assert np.array_equal(np.asarray(read(7)), expected)
    few = scan({"name": "digits_canvas", "limit": 20}, "eval")
    assert few.truths is not None and len(few.truths) == 20
    place = listing.files.index(few.files[11])
    assert few.truths[11] is canvases("eval").truths[place]


def test_how_many_there_are_is_known_without_drawing_them(tmp_path: Path) -> None:
    for side, images in PACKAGED["digits_canvas"].items():
        known = known_set({"name": "digits_canvas"}, side, tmp_path)
        assert known is not None and known.images == images


def test_what_is_there_found_is_rated_100() -> None:
    truths = canvases("eval").truths[:50]
    found = [
        Detections(truth.boxes, np.ones(len(truth.boxes), np.float32), truth.classes)
        for truth in truths
    ]
    numbers = coco_numbers(truths, found)
    assert numbers["map"] == pytest.approx(100.0) and numbers["map_large"] is None
