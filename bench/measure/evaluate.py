"""Run a network over an evaluation set, and keep what its task stores of each image."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.data.feed import Feed
from bench.machine.device import Device
from bench.machine.memory import out_of_memory
from bench.measure.compilation import Wish, checked, worth_compiling
from bench.measure.logits import COUNT
from bench.tasks.base import Items, Task
from methods.base import Progress
from models.clips import as_frames, consensus
from models.preprocessing import Preparation, laid_out

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]


class Evaluation(NamedTuple):
    """What came of an evaluation, and how it was run in the end.

    items: what the task stores of each image, in the order of the feed.
    batch_size: of images, or of frames of clips; less than was asked for where memory did not
        suffice, or images.
    logits: of the first `logits.COUNT` images of the set, (images, outputs), float32 on the CPU;
        None where they were not asked for.
    """

    items: Items
    batch_size: int
    compiled: bool
    logits: Tensor | None


class OfWhole(NamedTuple):
    """That the images of a feed are a part of `whole`, of which batches and compilation are.

    looks: after how many images it ends if `enough` says so of their items. with_logits: whether
    the first images of the whole set are run too, for their logits.
    """

    whole: Feed
    looks: Sequence[int]
    enough: Callable[[Items], bool]
    with_logits: bool


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    feed: Feed,
    preprocessing: Preparation,
    device: Device,
    progress: Progress,
    task: Task,
    compile: Wish = False,
    of_whole: OfWhole | None = None,
) -> Evaluation:
    """Return what `task` stores of each image, in the order of the feed.

    Pixels cross to the device as uint8 and are normalised there. Where memory does not suffice
    for a batch, it goes on with half as many images at once. Of a clip each frame passes, and its
    logits are the mean of theirs.

    feed: images on their way to `device`, where `network` is. of_whole: where they are a part.

    Raises BenchError when the outputs do not fit the set, or when one of them is not finite.
    """
    whole = feed if of_whole is None else of_whole.whole
    total, start = len(feed.images.listing), 0
    run = _Run(network, whole, preprocessing, device, compile)
    first: list[Tensor] = []
    if of_whole is not None and of_whole.with_logits:
        count = min(COUNT, len(whole.images))
        while (taken := sum(map(len, first))) < count:
            logits = run.outputs(whole, taken, len(whole.images))
            first.append(logits[: count - taken].float().cpu())
    looks = [total] if of_whole is None else [*(n for n in of_whole.looks if n < total), total]
    collected = task.collector(feed.images.listing, network, device.device)
    while start < total:
        end = next(look for look in looks if look > start)
        logits = run.outputs(feed, start, end)
        collected.take(logits)
        if of_whole is None and start < COUNT:
            first.append(logits[: COUNT - start].float().cpu())
        start += len(logits)
        # Looking at a value of the GPU waits for all that is queued there.
        if device.device.type == "cpu" or start == end:
            collected.check()
        progress(start, total, None)
        if of_whole is not None and start == end < total and of_whole.enough(collected.items()):
            break
    logits_of_first = torch.cat(first) if first else None
    return Evaluation(collected.items(), run.size * run.frames, run.compiled, logits_of_first)


class _Run:
    """A network as it is run, compiled or not, and how many images at once memory allows.

    size: of images, or of clips, of each of which `frames` pass.
    """

    def __init__(
        self,
        network: nn.Module,
        whole: Feed,
        preprocessing: Preparation,
        device: Device,
        compile: Wish,
    ) -> None:
        images = len(whole.images)
        self._preprocessing, self._device = preprocessing, device
        self.frames = whole.images.listing.frames
        at_once = device.images_at_once(preprocessing.places) // self.frames
        self.size = min(max(1, at_once), images)
        self._forward: Forward = network
        self.compiled = False

        def batch(first: int, count: int) -> Tensor:
            return self._batch(whole, first, min(first + count, images))

        if compile and worth_compiling(network, images, batch(0, 1), compile):
            faster, self.size = _compiled(network, batch, self.size, device.device, compile)
            if faster is not None:
                self._forward, self.compiled = faster, True

    def outputs(self, feed: Feed, start: int, end: int) -> Tensor:
        """Return what the network says of the images from `start`, as many as go at once."""
        while True:
            try:
                ready = self._batch(feed, start, min(start + self.size, end))
                count, wanted = len(ready) // self.frames, self.size * self.frames
                if self.compiled and len(ready) < wanted:
                    ready = laid_out(_padded(ready, wanted), self._device.memory_format)
                return consensus(self._forward(ready), self.frames)[:count]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.size == 1:
                    raise
                self.size = _halved(self.size, self._device.device)

    def _batch(self, feed: Feed, first: int, last: int) -> Tensor:
        ready = self._preprocessing.normalise(as_frames(feed.pixels(first, last)))
        return laid_out(ready, self._device.memory_format)


def _compiled(
    network: nn.Module,
    batch: Callable[[int, int], Tensor],
    size: int,
    device: torch.device,
    wish: Wish,
) -> tuple[Forward | None, int]:
    """Return `network` compiled, where it can be, and how many images at once memory allows."""
    while True:
        try:
            return checked(network, batch(0, size), wish), size
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or size == 1:
                raise
            size = _halved(size, device)


def _padded(batch: Tensor, count: int) -> Tensor:
    """Return `count` images: a compiled network takes batches of one size only."""
    return torch.cat([batch, batch[:1].expand(count - len(batch), *batch.shape[1:])])


def _halved(size: int, device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = size // 2
    log.warning("warning: not enough memory for %d images at once, going on with %d", size, half)
    return half
