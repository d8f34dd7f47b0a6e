"""From logits and labels to which images are right."""

import torch
from torch import Tensor

from bench.data.listing import Listing
from bench.data.outputs import check_outputs
from bench.tasks.classification import Correctness
from models.errors import BenchError


class Labels:
    """Collects whether the label of each image is the best class, and among the best five.

    device: where logits will be.
    """

    def __init__(self, listing: Listing, device: torch.device) -> None:
        self._listing = listing
        self._labels = torch.tensor(listing.labels, device=device)
        self._best: list[Tensor] = []
        self._finite: list[tuple[int, int, Tensor]] = []
        self._taken = 0

    def take(self, outputs: Tensor) -> None:
        """Take logits, (images, classes).

        Raises BenchError when the set has other classes than the network.
        """
        if not self._best:
            check_outputs(self._listing, outputs.shape[1])
        first, last = self._taken, self._taken + len(outputs)
        best_classes = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
        self._best.append(best_classes == self._labels[first:last, None])
        self._finite.append((first, last, torch.isfinite(outputs).all()))
        self._taken = last

    def check(self) -> None:
        for first, last, good in self._finite:
            if not bool(good):
                raise BenchError(f"a logit is not finite at images {first}..{last - 1}")
        self._finite.clear()

    def items(self) -> Correctness:
        right = [part.cpu() for part in self._best]
        top1 = torch.cat([part[:, 0] for part in right]).numpy()
        top5 = torch.cat([part.any(dim=1) for part in right]).numpy()
        return Correctness(top1, top5)
