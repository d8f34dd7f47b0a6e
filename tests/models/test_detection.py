"""Detectors as networks of rows, whatever they look like inside."""

import copy

import pytest
import torch
from torch import Tensor, nn

from models.canonical import behaviour, canonical
from models.detection import (
    FoundBoxes,
    HeadOutputs,
    checked_detections,
    detections_of,
    is_detector,
    rows_of,
    size_of,
)
from models.errors import BenchError
from tests.bench.tasks.examples import Told


class TwoStages(nn.Module):
    """Finds as many boxes as the image's first pixel says, with falling scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3)
        self.heads = nn.ModuleList([nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())])
        self.last = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            self.relu(self.last(self.heads[0](self.stem(image[None]))))
            count = int(image[0, 0, 0])
            places = torch.arange(count).float()
            boxes = torch.stack([places, places, places + 1, places + 2], dim=1)
            scores = (1 + places) / (count + 1)  # rising: the last is the best
            found.append({"boxes": boxes, "scores": scores, "labels": places.long() + 5})
        return found


def image(value: float) -> Tensor:
    return torch.full((3, 8, 8), float(value))


def test_one_stage_is_taken_before_its_boxes_are_made() -> None:
    network = rows_of(Told(), 4)
    assert isinstance(network, HeadOutputs) and is_detector(network) and size_of(network) == 4
    images = torch.rand(2, 3, 4, 4)
    outputs = network(images)
    assert outputs.shape == (2, 6)
    (first, _), (wanted, _) = detections_of(network, outputs), network.detector(list(images))
    assert torch.equal(first["boxes"], wanted["boxes"])


def test_two_stages_are_packed_and_unpacked() -> None:
    network = rows_of(TwoStages(), 8)
    assert isinstance(network, FoundBoxes)
    outputs = network(torch.stack([image(0), image(3), image(120)]))
    assert outputs.shape == (3, 600)
    none, three, most = detections_of(network, outputs)
    assert none["boxes"].shape == (0, 4)
    assert three["labels"].tolist() == [7, 6, 5]
    assert three["scores"].tolist() == [0.75, 0.5, 0.25]
    assert three["boxes"].tolist() == [[2, 2, 3, 4], [1, 1, 2, 3], [0, 0, 1, 2]]
    assert len(most["scores"]) == 100 and most["labels"][0] == 124


@torch.no_grad()
def test_it_passes_for_a_network() -> None:
    network = canonical(rows_of(TwoStages(), 8), torch.zeros(1, 3, 8, 8))
    shown = behaviour(network, torch.stack([image(2), image(4)]))
    assert (shown.outputs, shown.chance, shown.batch, shown.changed) == (600, False, False, [])
    assert size_of(copy.deepcopy(network)) == 8


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (torch.zeros(2, 10), "a tensor (2, 10)"),
        ([{"boxes": 1, "scores": 2, "labels": 3}], "list"),
        ([{"boxes": 1}, {"boxes": 1}], "list of 2"),
    ],
)
def test_what_is_no_detector_is_one_line(found: object, said: str) -> None:
    with pytest.raises(BenchError) as error:
        checked_detections(found, 2)
    assert str(error.value) == (
        f"the network returns {said} for 2 images, and a detector returns a list of one mapping an "
        "image with boxes, scores and labels; name a network that detects"
    )


class WithMasks(TwoStages):
    """The same, with masks of 2 x 2 whose values are in the order of the boxes."""

    mask_side = 2

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = super().forward(images)
        for each in found:
            count = len(each["scores"])
            values = torch.arange(4.0 * count) / 100
            each["masks"] = values.view(count, 1, 2, 2)
        return found


def test_masks_lie_behind_their_boxes() -> None:
    network = rows_of(WithMasks(), 8)
    outputs = network(torch.stack([image(0), image(3)]))
    assert outputs.shape == (2, 100 * (6 + 4))
    none, three = detections_of(network, outputs)
    assert none["masks"].shape == (0, 2, 2)
    assert three["labels"].tolist() == [7, 6, 5]
    expected = torch.tensor([[8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]) / 100
    assert torch.equal(three["masks"].flatten(1), expected)


@pytest.mark.parametrize(
    ("shape", "said"), [(None, "no masks"), ((1, 8, 8), "masks (1, 8, 8)")], ids=str
)
def test_masks_of_another_size_are_one_line(shape: tuple[int, ...] | None, said: str) -> None:
    found = {"boxes": torch.zeros(1, 4), "scores": torch.ones(1), "labels": torch.ones(1)}
    if shape is not None:
        found["masks"] = torch.zeros(shape)
    with pytest.raises(BenchError) as error:
        checked_detections([found], 1, mask_side=28)
    assert str(error.value) == (
        f"the network says mask_side=28 and returns {said} of 1 boxes; return (1, 1, 28, 28), one "
        "of what each box shows, or take mask_side away"
    )
