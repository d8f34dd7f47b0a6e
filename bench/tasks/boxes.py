"""From what the heads of a detector say to the boxes that are found in each image."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from bench.data.listing import Listing
from bench.statistics.average_precision import Detections, Mask
from bench.statistics.masks import pasted
from bench.tasks.detection import Detected
from bench.tasks.finite import FiniteCheck
from models.detection import detections_of, size_of


class Boxes:
    """Collects the boxes that `network` finds, in pixels of the images as they were.

    With their masks, where the network has some and all objects have theirs, to be rated by.

    network: a detector in the form of `models.detection`.
    """

    def __init__(self, listing: Listing, network: nn.Module) -> None:
        assert listing.truths is not None  # by `Detection.check`
        self._listing, self._network = listing, network
        self._truths = listing.truths
        self._found: list[Detections] = []
        self._with_masks = all(truth.masks is not None for truth in listing.truths)
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
            self._masks(image, found, boxes) if self._with_masks and "masks" in found else None,
        )

    def _masks(self, image: int, found: Mapping[str, Tensor], boxes: np.ndarray) -> Sequence[Mask]:
        """Return the masks of `boxes` (n, 4), corners in the original image."""
        if self._listing.sizes is None:
            width = height = size_of(self._network)
        else:
            width, height = self._listing.sizes[image].tolist()
        shown = found["masks"].float().cpu().numpy()
        return [pasted(*pair, width, height) for pair in zip(shown, boxes, strict=True)]

    def _scale(self, image: int) -> float:
        """Return how many pixels of the original one of the input is: the longer side fills it."""
        if self._listing.sizes is None:
            return 1.0
        return float(self._listing.sizes[image].max()) / size_of(self._network)
