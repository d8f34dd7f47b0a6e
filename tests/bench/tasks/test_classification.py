"""One label an image: what is stored, what is made of it, and what is no image of the task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.statistics.average_precision import Truth
from bench.statistics.intervals import wilson_interval
from bench.tasks.classification import Classification, Correctness
from bench.tasks.registry import TASKS, task_named
from models.errors import BenchError
from tests.bench.tasks.examples import listing

TASK = Classification()


def right(count: int, total: int = 10) -> Correctness:
    return Correctness(np.arange(total) < count, np.arange(total) < count + 1)


def test_its_name_is_that_of_the_registry() -> None:
    for name in TASKS.names():
        assert task_named(name).name == name
    assert TASK.identity() == {}
    assert task_named("detection").identity() == {"task": "detection"}


def test_an_unknown_task_is_one_line() -> None:
    with pytest.raises(BenchError, match=r"unknown task 'detect'; did you mean 'detection'\?"):
        task_named("detect")


def test_what_is_measured() -> None:
    low, high = wilson_interval(7, 10)
    numbers = {"top1": 70.0, "top5": 80.0, "correct": 7, "correct_top5": 8, "total": 10}
    assert TASK.measured(right(7)) == numbers | {"ci_low": low, "ci_high": high}
    assert TASK.in_words(numbers) == "7/10"
    assert TASK.counted(numbers) == "7/10, top-5 8"


def test_items_come_back(tmp_path: Path) -> None:
    TASK.save(tmp_path, right(7, 13))
    found = TASK.read(tmp_path)
    assert TASK.difference(found, right(7, 13)) is None
    assert TASK.difference(found, right(6, 13)) == "1 images differ in top-1, 1 in top-5"
    assert TASK.difference(found, right(6, 12)) == "not as many images"
    assert TASK.changed(found, right(4, 13)) == 3


def test_one_seed_and_one_image_and_several() -> None:
    one = TASK.compare([right(7)], [right(5)])
    assert (one.points, one.p) == (20.0, 0.5)  # two images, two fair coins
    single = TASK.compare([right(1, 1), right(0, 1)], [right(0, 1), right(0, 1)])
    assert single == (50.0, -100.0, 100.0, 1.0)
    assert TASK.compare([right(7), right(8)], [right(5), right(4)]).points == pytest.approx(30.0)
    assert TASK.mean([right(7), right(8)]) == 75.0


def test_boxes_are_nothing_to_classify() -> None:
    boxes = replace(listing(2), truths=(Truth(*(np.zeros(0),) * 4),) * 2)
    with pytest.raises(BenchError) as error:
        TASK.check(boxes, 10)
    assert str(error.value) == (
        "canvases has boxes to be found, and the network classifies; choose a data set of one "
        "label an image, or a network that detects"
    )
