"""Training a detector: what a step is, and truths of many images as one tensor."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from methods.training.strategy import Moment, Strategy


class Detecting(Strategy):
    """The losses of a detector, added up.

    Its targets are packed (see `packed`), and its network has `losses` as
    `models.networks.fpn_detector.FpnDetector` does.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, (), 0.0)

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        losses: dict[str, Tensor] = self.network.losses(images, unpacked(targets))  # type: ignore[operator]
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        return total.detach()


def packed(boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Tensor:
    """Return the objects of all images as one tensor (N, most, 5) float32.

    boxes: of each image (n, 4), left, top, width, height in pixels. labels: (n,), 1 or more.
    Of each object the tensor has left, top, right, bottom and label; rows of zeros fill it up.
    """
    most = max((len(of_image) for of_image in labels), default=0)
    rows = np.zeros((len(labels), most, 5), dtype=np.float32)
    for row, box, label in zip(rows, boxes, labels, strict=True):
        row[: len(label), :2] = box[:, :2]
        row[: len(label), 2:4] = box[:, :2] + box[:, 2:]
        row[: len(label), 4] = label
    return torch.from_numpy(rows)


def unpacked(targets: Tensor) -> list[dict[str, Tensor]]:
    """Return `boxes` (n, 4) as corners and `labels` (n,) int64 of each image of `packed` ones."""
    found = []
    for rows in targets:
        rows = rows[rows[:, 4] > 0]
        found.append({"boxes": rows[:, :4], "labels": rows[:, 4].long()})
    return found
