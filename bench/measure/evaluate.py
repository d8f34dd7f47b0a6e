"""Run a network over an evaluation set, and keep what its task stores of each image."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.data.feed import Feed
from bench.machine.device import Device
from bench.machine.memory import out_of_memory
from bench.measure.compilation import Wish, checked, worth_compiling
from bench.measure.logits import COUNT, seen_of
from bench.tasks.base import Items, Task
from methods.base import Progress
from models.clips import as_frames, consensus
from models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]


class Evaluation(NamedTuple):
    """What came of an evaluation, and how it was run in the end.

    items: what the task stores of each image, in the order of the set.
    batch_size: of images, or of frames of clips; less than was asked for where memory did not
        suffice, or images.
    logits: of the first `logits.COUNT` images, (images, outputs), float32 on the CPU.
    """

    items: Items
    batch_size: int
    compiled: bool
    logits: Tensor


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    feed: Feed,
    preprocessing: Preprocessing,
    device: Device,
    progress: Progress,
    task: Task,
    compile: Wish = False,
) -> Evaluation:
    """Return what `task` stores of each image, in the order of the set.

    Pixels cross to the device as uint8 and are normalised there. Where memory does not suffice
    for a batch, it goes on with half as many images at once. Of a clip each frame passes, and its
    logits are the mean of theirs.

    feed: images on their way to `device`, where `network` is.

    Raises BenchError when the outputs do not fit the set, or when one of them is not finite.
    """
    images, total, start = feed.images, len(feed.images), 0
    frames = seen_of(images.listing)
    size = min(max(1, device.images_at_once(preprocessing.size**2) // frames), total)

    def batch(first: int, count: int) -> Tensor:
        pixels = as_frames(feed.pixels(first, min(first + count, total)))
        ready = preprocessing.normalise(pixels)
        return ready.contiguous(memory_format=device.memory_format)

    run: Forward = network
    compiled = False
    if compile and worth_compiling(network, total, batch(0, 1), compile):
        faster, size = _compiled(network, batch, size, device.device, compile)
        if faster is not None:
            run, compiled = faster, True
    first: list[Tensor] = []
    collected = task.collector(images.listing, network, device.device)
    while start < total:
        try:
            ready = batch(start, size)
            if compiled and len(ready) < size * frames:
                ready = _padded(ready, size * frames)
                ready = ready.contiguous(memory_format=device.memory_format)
            logits = consensus(run(ready), frames)[: total - start]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or size == 1:
                raise
            size = _halved(size, device.device)
            continue
        collected.take(logits)
        if start < COUNT:
            first.append(logits[: COUNT - start].float().cpu())
        start += len(logits)
        # Looking at a value of the GPU waits for all that is queued there.
        if device.device.type == "cpu" or start == total:
            collected.check()
        progress(start, total, None)
    return Evaluation(collected.items(), size * frames, compiled, torch.cat(first))


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
