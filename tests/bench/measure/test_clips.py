"""A clip is evaluated by the mean of its frames' logits, and right where that is."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data import ImageSet, Listing
from bench.data.feed import ResidentImages, feed
from bench.machine.device import Device
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.logits import FloatLogits
from bench.tasks.classification import Classification
from methods.base import no_progress
from models.clips import Clip
from models.preprocessing import Preprocessing

PIXEL = Preprocessing(1, 1, "bilinear", (0.0,) * 3, (1.0,) * 3)
CPU = torch.device("cpu")

# Of three clips of two frames; of two of them a frame alone would decide otherwise.
LOGITS = torch.tensor(
    [
        [5.0, 0.0, 0.0],
        [0.0, 3.0, 0.0],
        [0.0, 1.0, 4.0],
        [0.0, 2.0, 9.0],
        [0.0, 7.0, 1.0],
        [0.0, 0.0, 4.0],
    ]
)
LABELS = [0, 1, 1]


class Lookup(nn.Module):
    """Answers frame i, a pixel of value i, with row i of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.frames.append(len(x))
        assert x.shape[1:] == (3, 1, 1)
        return LOGITS[(x[:, 0, 0, 0] * 255).round().long()]


def clips() -> ImageSet:
    images = np.arange(6, dtype=np.uint8).repeat(3).reshape(3, 6, 1, 1)
    names = ("a", "b", "c")
    listing = Listing("clips", "eval", names, np.array(LABELS), 2, "f", "s", clip=Clip(2))
    return ImageSet(listing, images)


def evaluated(batch_size: int | None) -> tuple[Evaluation, list[int]]:
    network, device = Lookup(), Device(CPU, batch_size=batch_size)
    fed = feed(clips(), CPU, ResidentImages())
    return evaluate(network, fed, PIXEL, device, no_progress, Classification()), network.frames


@pytest.mark.parametrize(
    ("batch_size", "frames"),
    [(None, [6]), (1, [2, 2, 2]), (2, [2, 2, 2]), (5, [4, 2]), (100, [6])],
)
def test_the_mean_of_the_logits_decides(batch_size: int | None, frames: list[int]) -> None:
    found, passed = evaluated(batch_size)
    # (2.5, 1.5, 0), (0, 1.5, 6.5), (0, 3.5, 2.5)
    assert found.items.top1.tolist() == [True, False, True]
    assert passed == frames and found.batch_size == frames[0]
    assert torch.equal(found.logits, LOGITS.view(3, 2, 3).mean(dim=1))
    measured = Classification().measured(found.items)
    assert (measured["correct"], measured["total"]) == (2, 3)


def test_logits_of_the_float_network_are_those_of_clips() -> None:
    fed = feed(clips(), CPU, ResidentImages())
    logits = FloatLogits().of(Lookup(), fed, PIXEL, Device(CPU, batch_size=2))
    assert torch.equal(logits, LOGITS.view(3, 2, 3).mean(dim=1))
