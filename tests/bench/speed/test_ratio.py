import pytest

from bench.speed.ratio import Ratio, Side


def ratio(above: float, below: float, **changes: object) -> Ratio:
    return Ratio("a / b", Side("a", above), Side("b", below), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("above", "wanted", "verdict"),
    [
        (1.0, "at most", "met"),
        (1.15, "at most", "met"),
        (1.16, "at most", "not met"),
        (1.0, "at least", "not met"),
        (1.15, "at least", "met"),
        (1.16, "at least", "met"),
    ],
)
def test_verdict(above: float, wanted: str, verdict: str) -> None:
    assert ratio(above, 1.0, goal=1.15, bound=wanted).verdict == verdict


def test_without_a_goal() -> None:
    assert ratio(3.0, 1.5).verdict == "no goal"
    assert ratio(3.0, 1.5).target == ""
    assert ratio(3.0, 1.5).as_dict()["wanted"] is None


def test_target() -> None:
    assert ratio(1.0, 1.0, goal=0.05).target == "<= 0.05"
    assert ratio(1.0, 1.0, goal=1.5, bound="at least").target == ">= 1.5"


def test_as_json_has_it() -> None:
    assert ratio(3.0, 2.0, goal=1.5, details={"images": 16}).as_dict() == {
        "name": "a / b",
        "ratio": 1.5,
        "goal": 1.5,
        "wanted": "at most",
        "verdict": "met",
        "above": {"what": "a", "seconds": 3.0},
        "below": {"what": "b", "seconds": 2.0},
        "details": {"images": 16},
    }
