"""From what the heads of a detector say to the boxes that are found in each image."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from bench.data.listing import Listing
from bench.statistics.average_precision import Detections
from bench.tasks.detection import Detected
from bench.tasks.finite import FiniteCheck
from models.detection import detections_of, size_of


class Boxes:
    """Collects the boxes that `network` finds, in pixels of the images as they were.

    network: a detector in the form of `models.detection`.
    """

    def __init__(self, listing: Listing, network: nn.Module) -> None:
        assert listing.truths is not None  # by `Detection.check`
        self._listing, self._network = listing, network
        self._truths = listing.truths
        self._found: list[Detections] = []
        self._finite = FiniteCheck("an output")

    def take(self, outputs: Tensor) -> None:
        """Take rows (images, K), of which boxes are made at once."""
        first = self._finite.note(outputs).start
        for image, found in enumerate(detections_of(self._network, outputs), first):
            self._found.append(self._on_original(image, found))

    def check(self) -> None:
        self._finite.check()

    def items(self) -> Detected:
        return Detected(self._truths, tuple(self._found))

    def _on_original(self, image: int, found: Mapping[str, Tensor]) -> Detections:
        boxes = found["boxes"].float().cpu().numpy() * self._scale(image)
        corners, sizes = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        return Detections(
            np.concatenate([corners, sizes], axis=1).astype(np.float32),
            found["scores"].float().cpu().numpy().astype(np.float32),
            found["labels"].cpu().numpy().astype(np.int64),
        )

    def _scale(self, image: int) -> float:
        """Return how many pixels of the original one of the input is: the longer side fills it."""
        if self._listing.sizes is None:
            return 1.0
        return float(self._listing.sizes[image].max()) / size_of(self._network)
