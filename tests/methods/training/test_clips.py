"""Training on clips: the loss is of the mean of the logits of a clip's frames."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.training.loop import Training
from methods.training.schedule import Schedule
from methods.training.strategy import Plain
from methods.training.surroundings import held
from models.clips import Clip, as_frames

SCHEDULE = Schedule(epochs=1, batch_size=4, lr=1e-12, weight_decay=0.0, augment="none")


class Watched(Plain):
    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, (), 0.0)
        self.images: list[Tensor] = []
        self.targets: list[Tensor] = []

    def step(self, images: Tensor, targets: Tensor, moment: object) -> Tensor:
        self.images.append(images)
        self.targets.append(targets)
        return super().step(images, targets, moment)  # type: ignore[arg-type]


def trained(stored: Tensor, clip: Clip, schedule: Schedule = SCHEDULE) -> tuple[Training, Watched]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 3)).train()
    strategy = Watched(network)
    training = Training(
        network=network,
        strategy=strategy,
        images=held(stored),
        targets=torch.arange(len(stored)) % 3,
        normalise=lambda pixels: pixels / 255 - 0.5,
        schedules=(schedule,),
        generator=torch.Generator().manual_seed(1),
        clip=clip,
    )
    training.run()
    return training, strategy


def clips(count: int, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = count, 3 * frames, 2, 2
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_the_loss_is_of_the_mean_logits_of_a_clip() -> None:
    stored = clips(8, 2)
    training, strategy = trained(stored, Clip(segments=2))
    assert [tuple(images.shape) for images in strategy.images] == [(8, 3, 2, 2)] * 2
    losses = []
    for images, targets in zip(strategy.images, strategy.targets, strict=True):
        logits = training.network(images)  # of frames: nothing is averaged any more
        assert logits.shape == (8, 3)
        mean = (logits[0::2] + logits[1::2]) / 2
        losses.append(float(functional.cross_entropy(mean, targets).detach()))
    assert training.history[0]["loss"] == pytest.approx(sum(losses) / 2)


def test_a_step_sees_a_frame_of_each_segment_of_each_clip_with_its_label() -> None:
    clip = Clip(segments=2, candidates=3)
    stored = clips(8, clip.frames)
    frames = as_frames(stored).view(8, 2, 3, 3, 2, 2) / 255 - 0.5
    _, strategy = trained(stored, clip)
    seen = []
    for images, targets in zip(strategy.images, strategy.targets, strict=True):
        for place, (first, second) in enumerate(images.view(4, 2, 3, 2, 2)):
            at = [
                (number, one, other)
                for number in range(8)
                for one in range(3)
                for other in range(3)
                if torch.equal(first, frames[number, 0, one])
                and torch.equal(second, frames[number, 1, other])
            ]
            assert len(at) == 1 and int(targets[place]) == at[0][0] % 3
            seen += at
    assert sorted(number for number, _, _ in seen) == list(range(8))
    assert len({one for _, one, _ in seen}) > 1, "it draws"


def test_the_frames_of_a_clip_are_changed_alike() -> None:
    one = clips(4, 1)
    stored = one.repeat(1, 2, 1, 1)  # a clip that stands still
    schedule = Schedule(epochs=1, batch_size=4, lr=1e-12, augment="crop_flip", max_shift=1)
    _, strategy = trained(stored, Clip(segments=2), schedule)
    (images,) = strategy.images
    pairs = images.view(4, 2, 3, 2, 2)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    still = one / 255 - 0.5
    assert not all(any(torch.equal(a, b) for b in still) for a in pairs[:, 0]), "they are changed"
