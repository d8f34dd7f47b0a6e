"""From logits and labels to which images are right."""

import torch
from torch import Tensor

from bench.data.listing import Listing
from bench.data.outputs import check_outputs
from bench.tasks.classification import Correctness
from bench.tasks.finite import FiniteCheck


class Labels:
    """Collects whether the label of each image is the best class, and among the best five.

    device: where logits will be.
    """

    def __init__(self, listing: Listing, device: torch.device) -> None:
        self._listing = listing
        self._labels = torch.tensor(listing.labels, device=device)
        self._best: list[Tensor] = []
        self._finite = FiniteCheck("a logit")

    def take(self, outputs: Tensor) -> None:
        """Take logits, (images, classes).

        Raises BenchError when the set has other classes than the network.
        """
        if not self._best:
            check_outputs(self._listing, outputs.shape[1])
        best_classes = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
        self._best.append(best_classes == self._labels[self._finite.note(outputs), None])

    def check(self) -> None:
        self._finite.check()

    def items(self) -> Correctness:
        right = [part.cpu() for part in self._best]
        top1 = torch.cat([part[:, 0] for part in right]).numpy()
        top5 = torch.cat([part.any(dim=1) for part in right]).numpy()
        return Correctness(top1, top5)
