"""Phases of a training: each with a schedule of its own, and taken up wherever it was left."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.training.loop import Training
from methods.training.schedule import Schedule
from methods.training.strategy import Moment, Plain
from methods.training.surroundings import InMemory, held

FIRST = Schedule(epochs=1, batch_size=4, lr=0.1, weight_decay=0.0, augment="none")
PHASES = (
    FIRST,
    replace(FIRST, epochs=2, batch_size=8, lr=0.05, optimizer="rmsprop", ema=0.5),
    replace(FIRST, lr=0.02, optimizer="adam"),
)
STEPS = 4 + 2 * 2 + 4


class Stopped(Exception):
    """What ends a process in the middle of a training."""


class StopBehind:
    """An interrupt that waits once `steps` steps are done."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @property
    def waiting(self) -> bool:
        self.steps -= 1
        return self.steps <= 0

    def deliver(self) -> None:
        if self.steps <= 0:
            raise Stopped


class Watched(Plain):
    """Remembers what it was told, and scales gradients and updates so that both are seen."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, (), 0.0)
        self.begun: list[int] = []
        self.moments: list[tuple[int, int, int]] = []

    def begin(self, phase: int) -> None:
        self.begun.append(phase)
        for parameter in self.network[1].parameters():  # type: ignore[index]
            parameter.requires_grad_(phase != 1)

    def before_update(self, moment: Moment) -> None:
        self.moments.append((moment.phase, moment.step, moment.steps))
        self.network[3].bias.grad.zero_()  # type: ignore[index,union-attr]

    @torch.no_grad()
    def after_update(self, moment: Moment) -> None:
        self.network[3].weight.mul_(0.999)  # type: ignore[index,operator]


def training(checkpoints: InMemory, **options: Any) -> tuple[Training, Watched]:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3)
    network = nn.Sequential(*layers).train()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (16, 3, 8, 8), generator=generator, dtype=torch.uint8)
    strategy = Watched(network)
    made = Training(
        network=network,
        strategy=strategy,
        images=held(pixels),
        targets=torch.arange(16) % 3,
        normalise=lambda x: x / 255,
        schedules=PHASES,
        generator=torch.Generator().manual_seed(2),
        checkpoints=checkpoints,
        **options,
    )
    return made, strategy


def state(of: Training) -> dict[str, Tensor]:
    return copy.deepcopy(of.network.state_dict())


def test_each_phase_has_its_own_schedule() -> None:
    seen: list[tuple[int, int]] = []
    made, strategy = training(InMemory(), progress=lambda done, of, _=None: seen.append((done, of)))
    before = state(made)
    history = made.run()
    assert [(h["epoch"], h["phase"]) for h in history] == [(1, 1), (2, 2), (3, 2), (4, 3)]
    assert strategy.begun == [0, 1, 2]
    places = [(0, s, 4) for s in range(4)] + [(1, s, 4) for s in range(4)]
    assert strategy.moments == places + [(2, s, 4) for s in range(4)]
    assert sorted({done for done, _ in seen}) == list(range(1, STEPS + 1))
    assert {of for _, of in seen} == {STEPS}
    assert torch.equal(state(made)["3.bias"], before["3.bias"])  # its gradients are gone


@pytest.mark.parametrize("stop", [2, 4, 6, 8, 10])
def test_it_is_taken_up_in_each_phase_and_between_them(stop: int) -> None:
    whole, _ = training(InMemory())
    history = whole.run()
    checkpoints = InMemory()
    broken, _ = training(checkpoints, interrupts=StopBehind(stop))
    with pytest.raises(Stopped):
        broken.run()
    resumed, strategy = training(checkpoints)
    assert resumed.run() == history
    done = STEPS - len(strategy.moments)
    assert done >= stop - 1
    found = state(resumed)
    assert all(torch.equal(found[key], value) for key, value in state(whole).items())
