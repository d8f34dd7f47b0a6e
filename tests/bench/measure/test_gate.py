import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bench.cells.result import Result
from bench.data import Listing
from bench.measure.gate import check_float, expected_top1
from models.errors import BenchError
from models.zoo import Weights, choose_weights, entry

MESSAGE = (
    "float top-1 of resnet20 on mnist5k is 90.00 % [59.58, 98.21] and 99.0 % was published for "
    "these weights: the images or their preprocessing differ, look at data.root; gate=warn "
    "measures all the same"
)


def listing(name: str, images: int) -> Listing:
    labels = np.zeros(images, dtype=np.int64)
    return Listing(name, "eval", tuple(map(str, range(images))), labels, 1, "f", "s")


def weights() -> Weights:
    return choose_weights(entry("resnet20"), "default")


def test_a_published_number_counts_for_its_own_images_only() -> None:
    assert expected_top1(weights(), listing("mnist5k", 1000)) == 99.0
    assert expected_top1(weights(), listing("mnist5k", 999)) is None
    assert expected_top1(weights(), listing("digits", 1000)) is None
    assert expected_top1(replace(weights(), published=None), listing("mnist5k", 1000)) is None


@pytest.mark.parametrize("expected", [None, 59.58, 90.0, 98.21])
def test_inside_the_interval_nothing_happens(
    make_result: Callable[..., Result], expected: float | None
) -> None:
    check_float(make_result(), expected, "stop")


def test_stop(make_result: Callable[..., Result]) -> None:
    with pytest.raises(BenchError) as error:
        check_float(make_result(), 99.0, "stop")
    assert str(error.value) == MESSAGE


def test_warn(make_result: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    logger = logging.getLogger("bench.measure.gate")
    monkeypatch.setattr(logger, "warning", lambda text, *args: lines.append(text % args))
    check_float(make_result(), 99.0, "warn")
    assert lines == [f"warning: {MESSAGE}"]


def test_a_record_without_an_interval_cannot_be_judged(
    make_result: Callable[..., Result],
) -> None:
    check_float(make_result(ci_low=None, ci_high=None), 1.0, "stop")
