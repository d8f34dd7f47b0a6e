"""Boxes in an image: what is stored, what is made of it, and what is no image of the task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bench.statistics.average_precision
import bench.tasks.detection
from bench.data.listing import limited, without
from bench.tasks.boxes import Boxes
from bench.tasks.detection import RESAMPLES, Detected, Detection
from models.detection import rows_of
from models.errors import BenchError
from tests.bench.statistics.detection import drawn
from tests.bench.tasks.examples import Told, detected, found, listing, truth

TASK = Detection()


def test_half_of_the_objects_are_found() -> None:
    numbers = TASK.measured(detected(3, 6))
    # Precision is 1 at the recalls 0.00 to 0.50, which are 51 of 101.
    assert numbers["map"] == numbers["map_50"] == pytest.approx(100 * 51 / 101)
    assert numbers["ar_100"] == 50.0
    assert (numbers["boxes"], numbers["objects"], numbers["total"]) == (3, 6, 6)
    assert numbers["map_medium"] is None  # no object is of that size
    assert numbers["ci_low"] < numbers["map"] < numbers["ci_high"]
    assert TASK.in_words(numbers) == "mAP 50.50 %"
    assert TASK.counted(numbers) == "3 boxes found of 6 objects on 6 images"


def test_all_and_nothing() -> None:
    everything, nothing = TASK.measured(detected(6, 6)), TASK.measured(detected(0, 6))
    assert (everything["map"], everything["ci_low"], everything["ci_high"]) == (100, 100, 100)
    assert (nothing["map"], nothing["ci_low"], nothing["ci_high"]) == (0, 0, 0)
    assert TASK.doubts(100.0, 50) == []
    assert TASK.doubts(0.0, 50) == [
        "the float network finds as good as nothing; look at its weights, its preprocessing and "
        "the category ids"
    ]


def test_items_come_back(tmp_path: Path) -> None:
    truths, detections = drawn(0, 7)
    truths[3], detections[5] = truth(), found()  # an empty picture, and one where nothing is found
    items = Detected(tuple(truths), tuple(detections))
    TASK.save(tmp_path, items)
    back = TASK.read(tmp_path)
    assert TASK.difference(back, items) is None
    assert back.coco == items.coco
    assert [len(each.classes) for each in back.truths] == [len(each.classes) for each in truths]
    assert all(np.array_equal(a.crowd, b.crowd) for a, b in zip(back.truths, truths, strict=True))


def test_the_same_items_make_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        TASK.save(tmp_path / name, detected(3, 6))
    one, other = ((tmp_path / name / TASK.file).read_bytes() for name in "ab")
    assert one == other


def test_items_of_another_record() -> None:
    items = detected(3, 6)
    numbers = TASK.measured(items)
    assert TASK.misfit(items, numbers) is None
    assert TASK.misfit(items, numbers | {"boxes": 4}) == (
        "3 boxes found of 6 objects on 6 images and its record 4 boxes found of 6 objects on 6 "
        "images"
    )


def test_what_changed() -> None:
    assert TASK.changed(detected(3, 6), detected(5, 6)) == 2
    assert TASK.difference(detected(3, 6), detected(5, 6)) == "other boxes on 2 images"
    assert TASK.difference(detected(3, 6), detected(3, 5)) == "not as many images"


def test_a_difference_is_that_of_the_same_resamples() -> None:
    first, second = detected(40, 50), detected(30, 50)
    compared = TASK.compare([first], [second])
    assert compared.points == pytest.approx(first.map - second.map)
    gaps = first.resampled - second.resampled
    # What the first finds more, it finds more in every resample.
    assert gaps.min() >= 0
    ends = np.percentile(gaps, [2.5, 97.5]) - gaps.mean() + compared.points
    assert (compared.low, compared.high) == pytest.approx(tuple(ends))
    assert compared.p < 0.05
    assert TASK.compare([first], [detected(40, 50)]) == (0.0, 0.0, 0.0, 1.0)


def test_seeds_are_compared_as_images_are() -> None:
    sides = [[detected(n, 50) for n in counts] for counts in ((40, 41, 42), (20, 22, 24))]
    compared = TASK.compare(*sides)
    means = [TASK.mean(side) for side in sides]
    assert compared.points == pytest.approx(means[0] - means[1])
    assert 0 < compared.low < compared.points < compared.high
    assert compared.p < 0.01


def test_boxes_are_in_pixels_of_the_images_as_they_were() -> None:
    images = torch.zeros(2, 3, 4, 4)
    images[0, 0].view(-1)[:6] = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5, 7.0])
    images[1, 0].view(-1)[:6] = torch.tensor([0.0, 1.0, 2.0, 4.0, 0.8, 9.0])
    network = rows_of(Told(), 4)
    square = listing(2, [truth((1, 2, 2, 2), category=7), truth()])
    wide = replace(square, sizes=np.array([[8, 4], [4, 12]]))
    for images_of, scales in ((square, (1, 1)), (wide, (2, 3))):
        collected = Boxes(images_of, network)
        for image in images:  # batches of one
            collected.take(network(image[None]))
        collected.check()
        items = collected.items()
        first, second = items.found
        assert first.boxes.tolist() == [
            [1 * scales[0], 2 * scales[0], 2 * scales[0], 2 * scales[0]]
        ]
        assert second.boxes.tolist() == [[0, 1 * scales[1], 2 * scales[1], 3 * scales[1]]]
        assert (first.classes.tolist(), second.classes.tolist()) == ([7], [9])
        assert first.scores.tolist() == [0.5]
        assert (first.boxes.dtype, first.classes.dtype) == (np.float32, np.int64)


def test_an_output_that_is_not_finite() -> None:
    network = rows_of(Told(), 4)
    collected = Boxes(listing(3, [truth()] * 3), network)
    images = torch.zeros(3, 3, 4, 4)
    images[2, 0, 0, 0] = float("nan")
    collected.take(network(images[:2]))
    collected.take(network(images[2:]))
    with pytest.raises(BenchError, match=r"^an output is not finite at images 2\.\.2$"):
        collected.check()


def test_labels_alone_are_nothing_to_detect() -> None:
    with pytest.raises(BenchError) as error:
        TASK.check(listing(2), None)
    assert str(error.value) == (
        "canvases has labels and no boxes, and the network detects; choose a data set of boxes, or "
        "a network that classifies"
    )


@pytest.mark.parametrize("change", [{}, {"crowd": np.array([True])}, {"areas": np.array([1e11])}])
def test_nothing_to_be_found_is_one_line(change: dict[str, np.ndarray]) -> None:
    only = truth((1, 2, 3, 4))._replace(**change) if change else truth()
    with pytest.raises(BenchError) as error:
        TASK.check(listing(2, [truth(), only]), None)
    assert str(error.value) == (
        "no image of the eval side of canvases has an object to be found; look at the annotations, "
        "or raise data.limit"
    )


def test_nothing_is_left_to_be_found_where_images_are_left_out() -> None:
    whole = listing(2, [truth((1, 2, 3, 4)), truth()])
    network, device = rows_of(Told(), 4), torch.device("cpu")
    assert isinstance(TASK.collector(whole, network, device), Boxes)
    with pytest.raises(BenchError, match=r"^no image of the eval side of canvases has an object"):
        TASK.collector(without(whole, ["000.png"]), network, device)


def test_truths_go_with_their_images() -> None:
    truths = [truth((place, 0, 1, 1), category=7 + place % 2) for place in range(6)]
    whole = replace(listing(6, truths), sizes=np.arange(12).reshape(6, 2))
    for part in (limited(whole, 3), without(whole, ["001.png", "004.png"])):
        assert part.truths is not None and part.sizes is not None
        assert part.classes == len({int(of.classes[0]) for of in part.truths})
        for name, of_image, size in zip(part.files, part.truths, part.sizes, strict=True):
            place = int(name[:3])
            assert of_image.boxes[0, 0] == place
            assert size.tolist() == [2 * place, 2 * place + 1]


def test_what_takes_long_is_kept_and_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = detected(3, 6)
    TASK.save(tmp_path, items)
    expected = items.map, items.resampled.copy()

    def again(*_: object) -> None:
        raise AssertionError("it is kept")

    monkeypatch.setattr(bench.statistics.average_precision, "coco_numbers", again)
    monkeypatch.setattr(bench.statistics.average_precision, "bootstrap", again)
    read = TASK.read(tmp_path)
    assert read.map == expected[0]
    assert np.array_equal(read.resampled, expected[1])


def test_resamples_of_other_draws_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.tasks.detection, "_RESAMPLES", "resamples_7_0")
    TASK.save(tmp_path, detected(3, 6))
    monkeypatch.undo()
    read = TASK.read(tmp_path)
    assert read.kept_resamples is None
    assert read.resampled.shape == (RESAMPLES,)
