"""What a file of integers computes, beside the fake-quantized network it was made of."""

import time
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.data.feed import feed
from bench.measure.remake import Remade
from bench.measure.resources import Resources
from bench.statistics.significance import compare_cells
from methods.base import Progress
from models.export.runtime import Session
from models.preprocessing import Preparation

BATCH = 8
"""Images at once, for times too."""


class Verification(NamedTuple):
    """A comparison over all images of a cell.

    right, fake_right: (N,), whether the integers and fake quantization have an image right.
    agreement: of the predictions, in percent. largest: difference of two logits; spread: of the
        logits of fake quantization from their mean, root mean square.
    integer_ms, float_ms: of an image, the median over batches; of the processor, not of the clock
        on the wall, which says little where others compute too.
    """

    right: np.ndarray
    fake_right: np.ndarray
    agreement: float
    largest: float
    spread: float
    integer_ms: float | None
    float_ms: float | None


@torch.inference_mode()
def compared(
    remade: Remade,
    integer: Session,
    floating: Session,
    preprocessing: Preparation,
    resources: Resources,
    progress: Progress,
    count: int | None = None,
) -> Verification:
    """Run all three over the images of the cell: `integer`, `floating`, and fake quantization.

    count: of how many images, the first ones; None for all.
    The two sessions, of one thread each, are timed on the same batches, each first in turn.
    """
    fed, device = feed(remade.images, remade.device.device, resources.resident), remade.device
    total = min(count or len(remade.images), len(remade.images))
    labels = np.asarray(remade.images.labels)[:total]
    best, fake_best, times = [], [], {"integer": list[float](), "float": list[float]()}
    largest, squares, values = 0.0, 0.0, 0
    for number, start in enumerate(range(0, total, BATCH)):
        stop = min(start + BATCH, total)
        images = preprocessing.normalise(fed.pixels(start, stop))
        images = images.contiguous(memory_format=device.memory_format)
        fake = remade.made.network(images).float().cpu().numpy()
        given = np.ascontiguousarray(images.cpu().numpy())
        logits: dict[str, Any] = {}
        sessions = [("integer", integer), ("float", floating)]
        for name, session in sessions[:: 1 if number % 2 else -1]:
            before = time.thread_time()
            logits[name] = session.logits(given)
            if stop - start == BATCH and (number or total < 2 * BATCH):
                times[name].append((time.thread_time() - before) * 1000 / BATCH)
        best.append(logits["integer"].argmax(1))
        fake_best.append(fake.argmax(1))
        largest = max(largest, float(np.abs(logits["integer"] - fake).max()))
        centred = fake.astype(np.float64) - fake.mean(1, keepdims=True)
        squares, values = squares + float((centred**2).sum()), values + centred.size
        progress(stop, total, None)
    found, fake_found = np.concatenate(best), np.concatenate(fake_best)
    return Verification(
        found == labels,
        fake_found == labels,
        100 * float((found == fake_found).mean()),
        largest,
        (squares / values) ** 0.5,
        median(times["integer"]) if times["integer"] else None,
        median(times["float"]) if times["float"] else None,
    )


def note(found: Verification, integer: Session, sha256: str, exact: bool) -> dict[str, Any]:
    """Return what is kept beside the record of a cell: `integer.json`."""
    difference = compare_cells(found.right, found.fake_right)
    return {
        "model_sha256": sha256,
        "exact": exact,
        "total": len(found.right),
        "correct_integer": int(found.right.sum()),
        "top1_integer": 100 * float(found.right.mean()),
        "top1_fake": 100 * float(found.fake_right.mean()),
        "points": difference.points,
        "low": difference.low,
        "high": difference.high,
        "agreement": found.agreement,
        "largest_logit_difference": found.largest,
        "logit_spread": found.spread,
        "layers": integer.layers,
        "integer_layers": integer.integer_layers,
        "batch_size": BATCH,
        "integer_ms": found.integer_ms,
        "float_ms": found.float_ms,
        "speedup": found.float_ms / found.integer_ms
        if found.float_ms and found.integer_ms
        else None,
    }
