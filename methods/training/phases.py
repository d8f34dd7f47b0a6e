"""The phases of a training: what each has of its epochs and steps."""

from collections.abc import Sequence
from typing import NamedTuple

from methods.training.schedule import Schedule
from methods.training.surroundings import State
from models.errors import BenchError


class Phase(NamedTuple):
    """What of a training has one schedule.

    number: from 0. first, last: how many epochs of the training are done before it and after it.
    batches: of an epoch. step: how many steps are done before it.
    """

    number: int
    schedule: Schedule
    first: int
    last: int
    batches: int
    step: int

    @property
    def steps(self) -> int:
        return (self.last - self.first) * self.batches


def phases_of(schedules: Sequence[Schedule], images: int, processes: int) -> list[Phase]:
    """Return the phases with these `schedules`, one after the other.

    images: of an epoch. processes: that share each batch.
    Raises BenchError when there are fewer images than one batch, and for a batch that cannot be
    shared equally.
    """
    phases = list[Phase]()
    first = step = 0
    for number, schedule in enumerate(schedules):
        size = schedule.batch_size
        if images < size:
            raise BenchError(
                f"{images} training images do not fill one batch of {size}; lower batch_size"
            )
        if size % processes:
            raise BenchError(f"batch_size={size} cannot be shared by {processes} processes equally")
        last = first + schedule.epochs
        phases.append(Phase(number, schedule, first, last, images // size, step))
        first, step = last, step + phases[-1].steps
    return phases


def phase_of(state: State, phases: Sequence[Phase]) -> int:
    """Return the number of the phase that the `state` of a training is within, or at the end of."""
    done, begun = len(state["history"]), state.get("part") is not None
    return next(p.number for p in phases if done < p.last or (done == p.last and not begun))
