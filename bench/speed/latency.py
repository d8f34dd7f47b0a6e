"""What each layer of a network takes on this machine's processor, as a table of latencies.

onnxruntime runs a layer in float, or in integers of 8 bits. Its kernels hold bytes: a weight of
fewer bits takes what one of 8 takes, and has that entry. Activations of fewer are not timed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.speed.timing import alternate
from methods.base import Progress, no_progress
from models.export.layers import float_layer, integer_layer
from models.export.runtime import Session
from models.quantize.activation import weighted_layers
from models.quantize.latency import Entry
from models.quantize.spec import FLOAT_BITS
from models.tracing import traced

_BYTE = 8
_WEIGHTS = range(2, _BYTE + 1)
_CPU = torch.device("cpu")


class Timed(NamedTuple):
    """A layer by name, its calls, and what one takes for an image, in milliseconds."""

    layer: str
    calls: int
    integer_ms: float
    float_ms: float


def timed_layers(
    network: nn.Module,
    image: Tensor,
    images: int,
    seconds: float,
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.thread_time,
) -> list[Timed]:
    """Return what the convolutions and linear layers of `network` take, each alone, in one thread.

    In integers products are added as fast as the processor can, and integers enter and leave. The
    two kinds take turns (`alternate`), on noise. Of a layer that is called several times it is the
    mean.

    image: (1, C, H, W) or a text, on the CPU. images: of such at once. seconds: for each call.
    """
    layers = weighted_layers(network)
    shapes, found = _shapes(network, layers, image), list[Timed]()
    for name, of_layer in shapes.items():
        calls = [_timed(layers[name], shape, images, seconds, clock) for shape in of_layer]
        integer, floating = ([each[kind] for each in calls] for kind in ("integer", "float"))
        found.append(Timed(name, len(calls), mean(integer), mean(floating)))
        progress(len(found), len(shapes))
    return found


def entries(timed: Timed) -> list[Entry]:
    """Return what a table says of a layer: it is on integers where weight and input are."""
    inputs = _BYTE, FLOAT_BITS
    return [
        Entry(timed.layer, w, a, timed.integer_ms if max(w, a) <= _BYTE else timed.float_ms)
        for w in (*_WEIGHTS, FLOAT_BITS)
        for a in inputs
    ]


@torch.no_grad()
def _shapes(
    network: nn.Module, layers: Mapping[str, nn.Module], image: Tensor
) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of what enters each layer, in the order of calls."""
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, args: Any) -> None:
        shapes.setdefault(name, []).append(tuple(args[0].shape))

    with traced(layers, before=note):
        network(image)
    return shapes


def _timed(
    layer: nn.Conv2d | nn.Linear,
    shape: Sequence[int],
    images: int,
    seconds: float,
    clock: Callable[[], float],
) -> dict[str, float]:
    rows = prod(shape[:-1]) if isinstance(layer, nn.Linear) else shape[0]
    inside = shape[-1:] if isinstance(layer, nn.Linear) else shape[1:]
    whole = (images * rows, *inside)
    noise = np.random.default_rng(0).integers(0, 256, whole).astype(np.uint8)
    integer, floating = Session(integer_layer(layer, whole)), Session(float_layer(layer, whole))
    sides = {
        "integer": partial(integer.logits, noise),
        "float": partial(floating.logits, noise.astype(np.float32) / 64),
    }
    found = alternate(sides, seconds, _CPU, clock)
    return {kind: 1e3 * found[kind] / images for kind in found}
