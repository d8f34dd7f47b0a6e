"""Segmentations of COCO files: what is inside, and mistakes in one line."""

from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core.mask import area, decode

from bench.data.segmentations import Segmentations, Shape, has_shape, shape_of
from models.errors import BenchError

WIDTH, HEIGHT = 8, 6
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]


def shape(segmentation: Any) -> Shape:
    return shape_of({"segmentation": segmentation}, WIDTH, HEIGHT, "annotation 7")


def mask_of(segmentation: Any) -> dict[str, Any]:
    return dict(Segmentations([shape(segmentation)], WIDTH, HEIGHT)[0])


def test_polygons_are_filled() -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 1:4] = 1
    assert np.array_equal(decode(mask_of([SQUARE])), expected)
    # Of two polygons all that is in one of them; what overlaps counts once.
    assert area(mask_of([SQUARE, [x + 1 for x in SQUARE]])) == 9 + 9 - 4
    assert area(mask_of([SQUARE, [5, 5, 7, 5]])) == 9, "two corners have nothing inside"


def test_run_lengths_go_by_columns() -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT, 2, 6 * 7 - 2]}
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:2, 1] = 1
    mask = mask_of(runs)
    assert np.array_equal(decode(mask), expected)
    compressed = {"size": [HEIGHT, WIDTH], "counts": mask["counts"].decode()}
    assert mask_of(compressed) == mask


def test_what_has_a_shape() -> None:
    assert has_shape({"segmentation": [SQUARE]})
    assert not any(map(has_shape, ({}, {"segmentation": []}, {"segmentation": None})))


def test_a_checksum_is_of_shapes_and_of_the_image() -> None:
    def digest(*shapes: Any, width: int = WIDTH) -> str:
        return Segmentations(map(shape, shapes), width, HEIGHT).digest()

    whole = digest([SQUARE], [SQUARE])
    assert whole == digest([SQUARE], [list(map(float, SQUARE))])
    others = {digest([SQUARE, SQUARE]), digest([SQUARE]), digest([SQUARE], [SQUARE], width=9)}
    assert len({whole, *others}) == 4


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([SQUARE[:-1]], "has a segmentation that is no list of polygons, each a list of x and y"),
        (SQUARE, "has a segmentation that is no list of polygons"),
        ([[float("nan"), 1, 2, 3, 4, 5]], "has a segmentation that is no list of polygons"),
        ("1 1 4 1", "has a segmentation that is no list of polygons"),
        (
            {"size": [8, 6], "counts": [48]},
            r"has run lengths of the size \[8, 6\], and \[height, width\] .* is \[6, 8\]",
        ),
        ({"size": [6, 8], "counts": [40]}, "has run lengths that are not those of 8 x 6 pixels"),
        ({"size": [6, 8], "counts": "abc"}, "has run lengths that are not those of 8 x 6 pixels"),
        ({"size": [6, 8], "counts": "531"}, "has run lengths that are not those of 8 x 6 pixels"),
        ({"counts": [48]}, "has run lengths of the size None"),
    ],
)
def test_mistakes_are_one_line(segmentation: Any, message: str) -> None:
    with pytest.raises(BenchError, match=rf"^annotation 7 {message}") as caught:
        shape(segmentation)
    assert "\n" not in str(caught.value)
