"""Images with boxes for tests, and a network that finds what it is told to."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.listing import Listing
from bench.statistics.average_precision import Detections, Truth
from bench.tasks.detection import Detected

Box = tuple[float, float, float, float]


def listing(images: int, truths: Sequence[Truth] | None = None) -> Listing:
    return Listing(
        name="canvases",
        side="eval",
        files=tuple(f"{place:03d}.png" for place in range(images)),
        labels=np.zeros(images, dtype=np.int64),
        classes=1,
        fingerprint="f",
        stamp="s",
        truths=None if truths is None else tuple(truths),
    )


def truth(*boxes: Box, category: int = 1) -> Truth:
    """Objects of one category; boxes are left, top, width and height."""
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    classes, crowd = np.full(len(array), category), np.zeros(len(array), dtype=bool)
    return Truth(array, classes, crowd, array[:, 2] * array[:, 3])


def found(*boxes: Box, score: float = 0.9, category: int = 1) -> Detections:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    scores = np.full(len(array), score, dtype=np.float32)
    return Detections(array, scores, np.full(len(array), category))


def detected(right: int, images: int) -> Detected:
    """An object an image, of which `right` are found as they are and the others not at all."""
    box = (10.0, 10.0, 20.0, 20.0)
    return Detected(
        tuple(truth(box) for _ in range(images)),
        tuple(found(box) if place < right else found() for place in range(images)),
    )


class Told(nn.Module):
    """A detector of one stage, whose raw outputs are the first pixels of an image.

    They are left, top, right, bottom, score and label of its only box.
    """

    def raw(self, images: Tensor) -> Tensor:
        return images[:, 0].flatten(1)[:, :6]

    def detections(self, outputs: Tensor) -> list[dict[str, Tensor]]:
        return [
            {"boxes": row[None, :4], "scores": row[4:5], "labels": row[5:6].long()}
            for row in outputs
        ]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return self.detections(self.raw(torch.stack(images)))
