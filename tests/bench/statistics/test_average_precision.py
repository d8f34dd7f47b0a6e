"""COCO's numbers against recorded ones, and mAP of resamples against the evaluator itself."""

import gc

import numpy as np
import pytest

from bench.statistics import average_precision
from bench.statistics.average_precision import (
    NUMBERS,
    Detections,
    Truth,
    bootstrap,
    coco_numbers,
)
from tests.bench.statistics.detection import drawn, recorded

NONE = np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def one(box: list[float], category: int = 3, crowd: bool = False) -> Truth:
    return Truth(
        np.array([box]), np.array([category]), np.array([crowd]), np.array([box[2] * box[3]])
    )


def found(*boxes: list[float], category: int = 3) -> Detections:
    scores = np.linspace(0.9, 0.1, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32), scores, np.full(len(boxes), category))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_are_those_of_pycocotools(dtype: type) -> None:
    pairs, expected = recorded(dtype)
    numbers = coco_numbers(*pairs)
    assert tuple(numbers) == NUMBERS
    assert [numbers[name] for name in NUMBERS] == expected.tolist()


def test_what_is_not_there_has_no_number() -> None:
    assert coco_numbers([Truth(*NONE)], [NOTHING]) == dict.fromkeys(NUMBERS)
    assert coco_numbers([Truth(*NONE)], [found([0, 0, 9, 9])]) == dict.fromkeys(NUMBERS)
    # An object of 400 square pixels is a small one: 32 x 32 and below.
    numbers = coco_numbers([one([10, 10, 20, 20])], [found([10, 10, 20, 20])])
    absent = {name for name, value in numbers.items() if value is None}
    assert absent == {"map_medium", "map_large", "ar_medium", "ar_large"}
    present = [value for value in numbers.values() if value is not None]
    assert present == pytest.approx([100.0] * 8)
    assert coco_numbers([one([10, 10, 20, 20])], [NOTHING])["map"] == 0.0


def test_an_overlap_counts_at_the_thresholds_below_it() -> None:
    # 20 x 12.5 of 20 x 20: an overlap of 0.625 is right at 0.5, 0.55 and 0.6.
    numbers = coco_numbers([one([0, 0, 20, 20])], [found([0, 0, 20, 12.5])])
    assert numbers["map"] == pytest.approx(30.0)
    assert numbers["map_50"] == pytest.approx(100.0) and numbers["map_75"] == 0.0


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = Truth(
        np.array([[0.0, 0, 20, 20], [50, 0, 50, 50]]),
        np.array([3, 3]),
        np.array([False, True]),
        np.array([400.0, 2500]),
    )
    # Two inside the crowd come before the one that is right.
    inside = found([60, 10, 10, 10], [70, 10, 10, 10], [0, 0, 20, 20])
    assert coco_numbers([crowd], [inside])["map"] == pytest.approx(100.0)
    outside = found([60, 60, 10, 10], [70, 60, 10, 10], [0, 0, 20, 20])
    assert coco_numbers([crowd], [outside])["map"] == pytest.approx(100 / 3)
    for images in ([inside], [outside]):
        assert bootstrap([crowd], images, 0, 2) == pytest.approx(
            [coco_numbers([crowd], images)["map"]] * 2
        )


def test_numbers_of_masks() -> None:
    from faster_coco_eval.core.mask import encode

    def masked(left: int) -> dict[str, object]:
        pixels = np.zeros((40, 60), np.uint8, order="F")
        pixels[10:30, left : left + 20] = 1
        mask: dict[str, object] = encode(pixels)
        return mask

    box = [5.0, 10, 20, 20]
    truth = one(box)._replace(masks=[masked(5)])
    for left, expected in ((5, 100.0), (8, 50.0)):  # 17 of 23 columns: 0.739, right up to 0.7
        masks = coco_numbers([truth], [found(box)._replace(masks=[masked(left)])], "mask")
        assert masks["map"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="need the masks"):
        coco_numbers([truth], [found(box)], "mask")


def test_resamples_are_those_that_the_evaluator_would_see() -> None:
    truths, detections = drawn(5, images=12)
    draws = np.random.default_rng(3).multinomial(12, [1 / 12] * 12, size=4)
    for value, times in zip(bootstrap(truths, detections, 3, 4), draws, strict=True):
        chosen = np.repeat(np.arange(12), times)
        again = coco_numbers([truths[i] for i in chosen], [detections[i] for i in chosen])
        assert value == pytest.approx(again["map"], abs=1e-9)


def test_resamples_of_one_seed_are_paired() -> None:
    truths, detections = drawn(0, images=30)
    first = bootstrap(truths, detections, seed=7, resamples=50)
    assert first.shape == (50,) and first.std() > 1
    assert np.array_equal(first, bootstrap(truths, detections, seed=7, resamples=50))
    assert not np.array_equal(first, bootstrap(truths, detections, seed=8, resamples=50))
    # A detector with half its boxes is worse by about as much in each resample.
    fewer = [Detections(d.boxes[::2], d.scores[::2], d.classes[::2]) for d in detections]
    gap = first - bootstrap(truths, fewer, seed=7, resamples=50)
    assert gap.std() < first.std() and gap.min() > 0


def test_a_resample_without_objects_has_no_map() -> None:
    truths = [Truth(*NONE), one([0, 0, 20, 20])]
    values = bootstrap(truths, [NOTHING, found([0, 0, 20, 20])], seed=0, resamples=64)
    draws = np.random.default_rng(0).multinomial(2, [0.5, 0.5], size=64)
    assert np.array_equal(np.isnan(values), draws[:, 1] == 0)
    assert np.isnan(values).any() and set(values[draws[:, 1] > 0].round(9)) == {100.0}


def test_what_cannot_be_paired_is_refused() -> None:
    truth = one([0, 0, 20, 20])
    with pytest.raises(ValueError, match="cannot pair 1 images with detections of 2"):
        coco_numbers([truth], [NOTHING, NOTHING])
    with pytest.raises(ValueError, match="cannot pair 0 images"):
        bootstrap([], [], 0)
    with pytest.raises(ValueError, match="a detection in image 1 has NaN"):
        bootstrap([truth, truth], [NOTHING, found([0, np.nan, 20, 20])], 0)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_afterwards_as_before(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[bool] = []

    def look(truths: object, kind: str) -> list[dict[str, object]]:
        meanwhile.append(gc.isenabled())
        raise RuntimeError("looked at")

    monkeypatch.setattr(average_precision, "_objects", look)
    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(RuntimeError, match="looked at"):
            coco_numbers([one([0, 0, 20, 20])], [NOTHING])
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was else gc.disable()
    assert meanwhile == [False]
