"""Objects of many images as one tensor, and a step of a detector."""

import numpy as np
import torch
from torch import Tensor, nn

from methods.training.detection import Detecting, packed, unpacked
from methods.training.strategy import Moment


def test_packed_and_unpacked() -> None:
    boxes = [np.array([[1.0, 2, 3, 4], [0, 0, 5, 6]]), np.zeros((0, 4)), np.array([[7.0, 8, 9, 1]])]
    labels = [np.array([3, 1]), np.zeros(0, int), np.array([10])]
    tensor = packed(boxes, labels)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [
        [[1, 2, 4, 6, 3], [0, 0, 5, 6, 1]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        [[7, 8, 16, 9, 10], [0, 0, 0, 0, 0]],
    ]
    found = unpacked(tensor)
    assert [each["labels"].tolist() for each in found] == [[3, 1], [], [10]]
    assert found[0]["boxes"].tolist() == [[1, 2, 4, 6], [0, 0, 5, 6]]
    assert found[1]["boxes"].shape == (0, 4) and found[2]["labels"].dtype == torch.int64
    assert packed([np.zeros((0, 4))], [np.zeros(0, int)]).shape == (1, 0, 5)


class TwoLosses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def losses(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        objects = sum(len(each["labels"]) for each in targets)
        return {"boxes": self.weight * images.mean(), "classes": self.weight**2 * objects}


def test_losses_add_up() -> None:
    network = TwoLosses()
    moment = Moment(0, 1, torch.Generator())
    targets = packed([np.ones((2, 4)), np.ones((1, 4))], [np.ones(2), np.ones(1)])
    loss = Detecting(network).step(torch.full((2, 3, 4, 4), 0.5), targets, moment)
    assert loss.item() == 2 * 0.5 + 4 * 3 and not loss.requires_grad
    assert network.weight.grad is not None and network.weight.grad.item() == 0.5 + 2 * 2 * 3
