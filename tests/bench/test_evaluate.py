from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data import ImageSet, Listing
from bench.evaluate import Correctness, evaluate
from methods.base import no_progress
from models.errors import BenchError
from models.preprocessing import Preprocessing

PIXEL = Preprocessing(1, 1, "bilinear", (0.0,) * 3, (1.0,) * 3)


class Lookup(nn.Module):
    """Answers image i, a single pixel of value i, with row i of a table of logits."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return self.logits[(x[:, 0, 0, 0] * 255).round().long()]


def numbered(labels: list[int]) -> ImageSet:
    """Image i is one pixel of value i."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=1)
    names = tuple(str(i) for i in range(len(labels)))
    listing = Listing("numbers", "eval", names, np.array(labels), len(set(labels)), "f", "s")
    return ImageSet(listing, images)


def run(
    network: nn.Module,
    images: ImageSet,
    batch_size: int = 4,
    progress: Callable[..., None] = no_progress,
) -> Correctness:
    cpu, layout = torch.device("cpu"), torch.channels_last
    return evaluate(network, images, PIXEL, cpu, layout, batch_size, progress)


def ranked(labels: list[int], ranks: list[int], classes: int) -> Tensor:
    """Logits that put label i at place ranks[i] (0: best)."""
    logits = torch.zeros(len(labels), classes)
    for row, (label, rank) in enumerate(zip(labels, ranks, strict=True)):
        order = [c for c in range(classes) if c != label]
        order.insert(rank, label)
        logits[row, order] = torch.arange(classes, 0, -1).float()
    return logits


LABELS = [3, 0, 7, 7, 2, 9, 1, 0, 5, 4]
RANKS = [0, 1, 4, 5, 0, 9, 2, 0, 3, 6]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 1000])
def test_exact_counts_at_every_batch_size(batch_size: int) -> None:
    network = Lookup(ranked(LABELS, RANKS, 10))
    top1, top5 = run(network, numbered(LABELS), batch_size)
    assert top1.tolist() == [rank == 0 for rank in RANKS]
    assert top5.tolist() == [rank < 5 for rank in RANKS]
    assert (top1.dtype, top5.dtype) == (bool, bool)
    assert sum(network.batches) == 10
    assert network.batches[-1] == (10 % batch_size or min(batch_size, 10))


def test_fewer_than_five_classes() -> None:
    labels = [0, 1, 2, 2]
    top1, top5 = run(Lookup(ranked(labels, [0, 1, 2, 0], 3)), numbered(labels))
    assert top1.tolist() == [True, False, False, True]
    assert top5.tolist() == [True] * 4


def test_progress_counts_images() -> None:
    seen: list[tuple[int, int, float | None]] = []

    def progress(done: int, total: int, loss: float | None = None) -> None:
        seen.append((done, total, loss))

    run(Lookup(ranked(LABELS, RANKS, 10)), numbered(LABELS), 4, progress)
    assert seen == [(4, 10, None), (8, 10, None), (10, 10, None)]


def test_a_label_beyond_the_classes() -> None:
    network = Lookup(torch.zeros(3, 9))
    with pytest.raises(BenchError) as error:
        run(network, numbered([0, 9, 1]))
    assert str(error.value) == (
        "numbers has a label 9 and the network only 9 classes; choose a data set that belongs to "
        "the model"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_not_finite(bad: float) -> None:
    logits = ranked(LABELS, RANKS, 10)
    logits[9, 3] = bad
    with pytest.raises(BenchError) as error:
        run(Lookup(logits), numbered(LABELS), 4)
    assert str(error.value) == "a logit is not finite at images 8..9"
