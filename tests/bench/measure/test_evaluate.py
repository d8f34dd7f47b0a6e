from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from bench.data import ImageSet, Listing
from bench.data.feed import ResidentImages, feed
from bench.machine.device import Device
from bench.measure import compilation
from bench.measure.evaluate import Evaluation, evaluate
from bench.tasks.classification import Classification, Correctness
from methods.base import no_progress
from models.errors import BenchError
from models.preprocessing import Preprocessing

MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

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
    return evaluated(network, images, batch_size, progress).items


def evaluated(
    network: nn.Module,
    images: ImageSet,
    batch_size: int = 4,
    progress: Callable[..., None] = no_progress,
    compile: compilation.Wish = False,
) -> Evaluation:
    device = Device(torch.device("cpu"), batch_size=batch_size)
    pixels = feed(images, device.device, ResidentImages())
    return evaluate(network, pixels, PIXEL, device, progress, Classification(), compile)


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
    top1, top5, _ = run(network, numbered(LABELS), batch_size)
    assert top1.tolist() == [rank == 0 for rank in RANKS]
    assert top5.tolist() == [rank < 5 for rank in RANKS]
    assert (top1.dtype, top5.dtype) == (bool, bool)
    assert sum(network.batches) == 10
    assert network.batches[-1] == (10 % batch_size or min(batch_size, 10))


def test_fewer_than_five_classes() -> None:
    labels = [0, 1, 2, 2]
    top1, top5, _ = run(Lookup(ranked(labels, [0, 1, 2, 0], 3)), numbered(labels))
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
        "numbers has 10 classes and the network 9 outputs; choose a data set that belongs to the "
        "model, or a model with as many outputs"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_not_finite(bad: float) -> None:
    logits = ranked(LABELS, RANKS, 10)
    logits[9, 3] = bad
    with pytest.raises(BenchError) as error:
        run(Lookup(logits), numbered(LABELS), 4)
    assert str(error.value) == "a logit is not finite at images 8..9"


class Hungry(Lookup):
    """Has no memory for more than `most` images at once."""

    def __init__(self, logits: Tensor, most: int, error: Exception):
        super().__init__(logits)
        self.most, self.error = most, error

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise self.error
        return super().forward(x)


_CPU_ERROR = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), _CPU_ERROR]
)
def test_half_the_images_at_once_where_memory_is_short(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    network = Hungry(ranked(LABELS, RANKS, 10), 2, error)
    caplog.set_level("WARNING", logger="bench")
    found = evaluated(network, numbered(LABELS), 9)
    assert found.items.top1.tolist() == [rank == 0 for rank in RANKS]
    assert (found.batch_size, network.batches) == (2, [2] * 5)
    assert caplog.messages == [
        "warning: not enough memory for 9 images at once, going on with 4",
        "warning: not enough memory for 4 images at once, going on with 2",
    ]


def test_no_memory_for_a_single_image() -> None:
    network = Hungry(ranked(LABELS, RANKS, 10), 0, MemoryError())
    with pytest.raises(MemoryError):
        run(network, numbered(LABELS))


def test_another_error_is_no_want_of_memory() -> None:
    network = Hungry(ranked(LABELS, RANKS, 10), 2, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(network, numbered(LABELS))


def test_compiled_batches_have_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    eager, compiled = (Lookup(ranked(LABELS, RANKS, 10)) for _ in range(2))
    plain = evaluated(eager, numbered(LABELS), 4)
    found = evaluated(compiled, numbered(LABELS), 4, compile=True)
    assert (plain.compiled, found.compiled) == (False, True)
    assert eager.batches == [4, 4, 2]
    assert set(compiled.batches) <= {1, 4}  # one image to see how long it takes
    assert found.items.top1.tolist() == plain.items.top1.tolist()
    assert found.items.top5.tolist() == plain.items.top5.tolist()


def test_every_compiled_batch_has_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last batch in another layout would be compiled for once more."""
    made: list[tuple[int, ...]] = []

    def backend(graph: fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        made.extend(value.stride() for value in example if value.dim() == 4 and len(value) == 5)
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", backend)
    torch.compiler.reset()
    images = numbered([0, 1, 0, 1, 0, 1, 0])
    images = ImageSet(images.listing, np.zeros((7, 3, 8, 8), np.uint8))
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(1, 3, 8, 8))
    found = evaluated(network.requires_grad_(False), images, 5, compile=True)
    assert found.compiled
    assert made == [(192, 1, 24, 3)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), MEMORY], ids=["gpu", "cpu"])
def test_want_of_memory_while_compiling_halves_the_batch(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        def run(*given: Tensor) -> object:
            if any(len(value) > 4 for value in given if value.dim() == 4):
                raise error
            return graph(*given)

        return run

    monkeypatch.setattr(compilation, "BACKEND", backend)
    torch.compiler.reset()
    images = numbered([0, 1, 0, 1, 0, 1, 0, 1])
    images = ImageSet(images.listing, np.zeros((8, 3, 4, 4), np.uint8))
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).requires_grad_(False)
    found = evaluated(network, images, 8, compile=True)
    assert (found.compiled, found.batch_size) == (True, 4)
