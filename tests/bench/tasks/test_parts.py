"""Items of a part of the images: which were seen, stored, joined, and paired with others."""

from pathlib import Path

import numpy as np
import pytest

from bench.data.listing import random_order
from bench.statistics.bets import drop_of
from bench.statistics.sequences import accuracy_sequence
from bench.tasks.classification import Classification, Correctness
from bench.tasks.parts import common, joined, placed, sample
from models.errors import BenchError

TASK = Classification()


def items(right: list[int], seen: list[int] | None = None) -> Correctness:
    top1 = np.array(right, dtype=bool)
    return Correctness(top1, np.ones_like(top1), None if seen is None else np.array(seen, bool))


def test_in_the_order_of_the_set() -> None:
    found = placed(items([1, 0, 1]), np.array([4, 0, 2]), 6)
    assert found.top1.tolist() == [False, True, True]  # of images 0, 2 and 4
    assert found.seen is not None
    assert found.seen.tolist() == [True, False, True, False, True, False]
    rest = placed(items([0, 0, 1]), np.array([5, 1, 3]), 6)
    whole = joined(found, rest)
    assert whole.seen is None
    assert whole.top1.tolist() == [False, False, True, True, True, False]


def test_they_are_stored_with_what_was_seen(tmp_path: Path) -> None:
    part = items([1, 0, 1], [1, 0, 1, 0, 1, 0, 0, 0, 0])
    TASK.save(tmp_path, part)
    found = TASK.read(tmp_path)
    assert [each.tolist() for each in found] == [each.tolist() for each in part]
    numbers = TASK.measured(found)
    assert (numbers["correct"], numbers["total"], numbers["part_of"]) == (2, 3, 9)
    assert (numbers["ci_low"], numbers["ci_high"]) == accuracy_sequence(2, 3, 9)
    assert TASK.in_words(numbers) == "2/3 of 9"
    assert TASK.misfit(found, numbers) is None
    whole = "3 of 9 images seen and its record None of None"
    assert TASK.misfit(found, numbers | {"part_of": None}) == whole
    assert "of None" in str(TASK.misfit(items([1, 0, 1]), numbers))


def test_a_whole_file_says_nothing_of_parts(tmp_path: Path) -> None:
    TASK.save(tmp_path, items([1, 0, 1]))
    with np.load(tmp_path / TASK.file) as packed:
        assert {*packed} == {"top1", "top5", "total"}
    assert "part_of" not in TASK.measured(TASK.read(tmp_path))


def test_cells_are_paired_on_what_all_have_seen() -> None:
    whole = items([1, 1, 0, 0, 1])
    part, other = items([1, 0, 0], [1, 1, 0, 1, 0]), items([0, 1, 1, 0], [0, 1, 1, 1, 1])
    both = common([whole, part])
    assert [each.top1.tolist() for each in both] == [[True, True, False], [True, False, False]]
    assert [each.top1.tolist() for each in common([whole, part, other])] == [
        [True, False],
        [False, False],
        [False, True],
    ]
    assert TASK.common([whole, whole]) == [whole, whole]
    assert TASK.changed(whole, part) == 1
    assert TASK.difference(whole, part) == "1 images differ in top-1, 0 in top-5"
    assert TASK.compare([whole], [part]).points == pytest.approx(100 / 3)
    assert TASK.mean([whole, part]) == pytest.approx(50.0)
    with pytest.raises(BenchError, match=r"sets of \[5, 6\]"):
        common([part, items([1] * 6)])


def test_what_quantization_changed_of_what_was_seen() -> None:
    before = items([1, 1, 0, 0, 1, 1])
    order = random_order(6)
    seen = np.zeros(6, dtype=bool)
    seen[order[:4]] = True
    right = np.array([0, 1, 1, 0, 0, 1], dtype=bool)
    now = Correctness(right[seen], right[seen], seen)
    drawn = sample(before, now)
    change = np.array([1, 0, -1, 0, 1, 0])
    assert drawn.change.tolist() == change[order[:4]].tolist()
    assert drawn.right.tolist() == before.top1[order[:4]].tolist()
    assert (drawn.total_right, drawn.total) == (4, 6)
    found = TASK.against_float(before, now)
    assert found == {
        "lost": int((change[order[:4]] > 0).sum()),
        "gained": int((change[order[:4]] < 0).sum()),
        "drop_low": drop_of(drawn).low,
        "drop_high": drop_of(drawn).high,
    }
    assert TASK.against_float(before, items([0, 1, 1, 0, 0, 1])) == {"lost": 2, "gained": 1}
    assert TASK.against_float(items([1]), now) == {}
