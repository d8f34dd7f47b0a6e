import pytest

from bench.papers.verdict import Interval, Verdict, judge, judge_drop


@pytest.mark.parametrize(
    ("published", "verdict"),
    [
        (70.0, "reproduced"),  # the mean itself
        (70.5, "reproduced"),  # in the interval
        (71.0, "reproduced"),  # its end
        (69.0, "reproduced"),
        (71.01, "off by -1.01"),
        (68.99, "off by +1.01"),
    ],
)
def test_the_interval_decides(published: float, verdict: str) -> None:
    assert judge(published, Interval(70, 69, 71), tolerance=0.1).text == verdict


@pytest.mark.parametrize(
    ("published", "tolerance", "name"),
    [
        (70.1, 0.1, "reproduced"),
        (69.9, 0.1, "reproduced"),
        (70.11, 0.1, "off"),
        (70.3, 0.3, "reproduced"),
        (70.0, 0.0, "reproduced"),
        (70.01, 0.0, "off"),
    ],
)
def test_without_an_interval_the_tolerance_decides(
    published: float, tolerance: float, name: str
) -> None:
    assert judge(published, Interval(70, 70, 70), tolerance).name == name


def test_off_says_measured_minus_published() -> None:
    assert judge(26.04, Interval(24.4, 23.4, 25.4), 0.1) == Verdict("off", "off by -1.64", "")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.6, 1.4, "drop reproduced"),  # all of it within half a point of 1.0
        (0.5, 1.5, "drop reproduced"),
        (0.4, 1.4, "undecided"),
        (0.9, 1.6, "undecided"),
        (-9.0, 9.0, "undecided"),  # has any drop in it, and says nothing
        (1.4, 2.0, "undecided"),
        (1.6, 2.0, "drop off by +0.80"),
        (-0.5, 0.4, "drop off by -1.05"),
    ],
)
def test_a_drop_is_reproduced_where_all_of_its_interval_is_near(
    low: float, high: float, text: str
) -> None:
    assert judge_drop(1.0, Interval((low + high) / 2, low, high), 0.5).text == text
