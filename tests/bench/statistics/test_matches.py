"""Matches against COCO's evaluator: on drawn images, and when images come several times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics import matches
from bench.statistics.average_precision import Detections, Truth, coco_numbers
from bench.statistics.matches import match, mean_average_precision
from tests.bench.statistics.detection import drawn, recorded


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([4, None]))
def test_each_image_once_is_the_map_of_coco(seed: int, images: int, scores: int | None) -> None:
    truths, detections = drawn(seed, images, scores)
    (value,) = mean_average_precision(match(truths, detections), np.ones((1, images), int))
    expected = coco_numbers(truths, detections)["map"]
    assert (expected is None) == bool(np.isnan(value))
    if expected is not None:
        assert value == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_images_several_times_are_a_set_that_has_them_so(seed: int, times: list[int]) -> None:
    truths, detections = drawn(seed, len(times))
    (value,) = mean_average_precision(match(truths, detections), np.array([times]))
    chosen = np.repeat(np.arange(len(times)), times)
    if len(chosen) == 0:
        assert np.isnan(value)
        return
    expected = coco_numbers([truths[i] for i in chosen], [detections[i] for i in chosen])["map"]
    assert value == pytest.approx(expected, abs=1e-9, nan_ok=True) or expected is None


def test_the_recorded_set_in_many_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    (truths, detections), expected = recorded()
    monkeypatch.setattr(matches, "_VALUES", 64)
    values = mean_average_precision(match(truths, detections), np.ones((3, 60), int))
    assert values == pytest.approx([expected[0]] * 3, abs=1e-9)


def test_a_hundred_detections_of_a_category_count() -> None:
    box = np.array([[0.0, 0, 20, 20]])
    truth = Truth(box, np.array([1]), np.array([False]), np.array([400.0]))
    boxes = np.repeat(box + np.array([50, 50, 0, 0]), 101, axis=0).astype(np.float32)
    boxes[100] = box
    scores = np.linspace(1, 0.5, 101, dtype=np.float32)
    for last, expected in ((100, 0.0), (99, 1.0)):
        boxes[[last, 100]] = boxes[[100, last]]
        found = Detections(boxes.copy(), scores, np.ones(101, int))
        (value,) = mean_average_precision(match([truth], [found]), np.ones((1, 1), int))
        assert value == pytest.approx(expected)
        assert coco_numbers([truth], [found])["map"] == pytest.approx(expected)
        # In another category it is another's.
        found = found._replace(classes=np.where(np.arange(101) == last, 1, 2))
        (value,) = mean_average_precision(match([truth], [found]), np.ones((1, 1), int))
        assert value == pytest.approx(100.0)
