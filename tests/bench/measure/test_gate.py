from collections.abc import Callable

import pytest

from bench.cells.result import Result
from bench.measure.gate import check_float
from models.errors import BenchError

MESSAGE = (
    "float top-1 of resnet20 on mnist5k is 90.00 % [59.58, 98.21] and 99.0 % was published for "
    "these weights: the images or their preprocessing differ, look at data.root"
)


@pytest.mark.parametrize("expected", [None, 59.58, 90.0, 98.21])
def test_inside_the_interval_nothing_happens(
    make_result: Callable[..., Result], expected: float | None
) -> None:
    assert check_float(make_result(), expected, "stop") == []


def test_stop(make_result: Callable[..., Result]) -> None:
    with pytest.raises(BenchError) as error:
        check_float(make_result(), 99.0, "stop")
    assert str(error.value) == f"{MESSAGE}; gate=warn measures all the same"


def test_warn(make_result: Callable[..., Result]) -> None:
    assert check_float(make_result(), 99.0, "warn") == [MESSAGE]


def test_a_record_without_an_interval_cannot_be_judged(
    make_result: Callable[..., Result],
) -> None:
    check_float(make_result(ci_low=None, ci_high=None), 1.0, "stop")
