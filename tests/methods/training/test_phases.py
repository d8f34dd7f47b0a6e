"""Epochs and steps of phases."""

from dataclasses import replace

import pytest

from methods.training.phases import phase_of, phases_of
from methods.training.schedule import Schedule
from models.errors import BenchError

FIRST = Schedule(epochs=2, batch_size=4)
PHASES = phases_of((FIRST, replace(FIRST, epochs=1, batch_size=8)), 19, 2)


def test_where_each_begins_and_ends() -> None:
    first, second = PHASES
    assert (first.first, first.last, first.batches, first.step, first.steps) == (0, 2, 4, 0, 8)
    assert (second.first, second.last, second.batches, second.step, second.steps) == (2, 3, 2, 8, 2)


def test_which_a_state_belongs_to() -> None:
    def at(epochs: int, begun: bool) -> int:
        return phase_of({"history": [{}] * epochs, "part": {} if begun else None}, PHASES)

    assert [at(0, False), at(1, True), at(2, False)] == [0, 0, 0]  # the last: at its end
    assert [at(2, True), at(3, False)] == [1, 1]


def test_what_does_not_fit() -> None:
    with pytest.raises(BenchError, match="3 training images do not fill one batch of 4"):
        phases_of((FIRST,), 3, 1)
    with pytest.raises(BenchError, match="batch_size=4 cannot be shared by 3 processes equally"):
        phases_of((FIRST,), 19, 3)
