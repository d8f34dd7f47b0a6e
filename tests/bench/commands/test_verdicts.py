"""What `bench compare` says of two cells of detection; of classification see test_compare."""

from collections.abc import Callable

from bench.cells.result import Result
from bench.commands.verdicts import cell_line, p_text, verdict
from tests.bench.tasks.examples import detected

RESULT = {"task": "detection", "top1": None, "correct": None, "model": "tiny", "data": "canvases"}


def test_a_cell_has_its_headline_with_its_interval(make_result: Callable[..., Result]) -> None:
    line = cell_line("A", make_result(**RESULT), detected(50, 50))
    assert line == (
        "A  mAP 100.00 % [100.00, 100.00]  50 images  tiny canvases gaussian W4A8 seed 1"
    )


def test_who_wins_is_said_in_points_of_map(make_result: Callable[..., Result]) -> None:
    result = make_result(**RESULT)
    first, changed, who, *_ = verdict(result, detected(40, 50), detected(20, 50))
    # 81 and 41 of the 101 recalls are reached.
    assert first.startswith("A - B  +39.60 points of mAP [+")
    assert first.endswith("], 95 % by paired bootstrap over images")
    assert changed.startswith("images on which A and B differ: 20; bootstrap p <0.0001")
    assert who == "A wins: resolved at 95 %"
    assert verdict(result, detected(20, 50), detected(40, 50))[2] == "B wins: resolved at 95 %"


def test_equal_cells_and_cells_that_nothing_tells_apart(make_result: Callable[..., Result]) -> None:
    result = make_result(**RESULT)
    equal = verdict(result, detected(40, 50), detected(40, 50))
    assert equal[1] == "images on which A and B differ: 0; bootstrap p = 1.0000"
    assert equal[2] == "equal: A and B find the same on every image"
    (*_, who, _, last) = verdict(result, detected(41, 50), detected(40, 50))
    assert who == "A is ahead, but unresolved: these images do not tell A and B apart"
    assert last == "images are what is random here; other seeds may differ more"


def test_p_values_are_printed_in_four_digits() -> None:
    assert [p_text(p) for p in (1.0, 0.04321, 0.00009)] == ["1.0000", "0.0432", "<0.0001"]
