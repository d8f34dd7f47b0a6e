"""Trained networks: trained once for all bit-widths, kept, and taken up again after a kill."""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.request import digest
from bench.cells.seeds import numpy_generator
from bench.data import ImageSet, calibration_indices
from bench.data.training import reached_for_images
from bench.files.entry import CacheEntry
from bench.files.kinds import CHECKPOINT, GENERATED, HISTORY, IDENTITY, WEIGHTS
from bench.plots.images import over_time
from bench.training.host import Hosting
from bench.training.run import History, Trained, TrainingTask, check_shareable, run_training
from methods.base import Progress
from methods.training.base import TrainedMethod
from models.errors import BenchError, first_line
from models.preprocessing import Preprocessing
from models.qat.network import freeze

log = logging.getLogger(__name__)

_Kept = tuple[dict[str, Tensor], History, bytes | None]
"""As `Trained`, with a picture of the images."""


class TrainedNetwork(NamedTuple):
    """A trained network at the bits of a cell, and how it came about.

    key: of the training; cells with the same key look at the same weights.
    history: one record an epoch. warnings: as of a result.
    generated: images that were made to be trained on, over time, as a PNG; None without any.
    """

    network: nn.Module
    key: str
    history: History
    warnings: list[str]
    generated: bytes | None = None


def training_key(cell: Cell, method: TrainedMethod) -> str:
    """Return the key of the training behind `cell`, whose method `method` is."""
    return digest(training_identity(cell, method))


def training_identity(cell: Cell, method: TrainedMethod) -> dict[str, Any]:
    """Return all that the weights behind `cell` depend on: not the cell's own bits as such."""
    return cell.source | {"method": method.identity_of_training(cell.spec)}


def check_kept(entry: CacheEntry) -> None:
    """Raise BenchError unless the training of `entry` is kept."""
    if not entry.is_whole:
        raise _gone(entry)


def _gone(entry: CacheEntry) -> BenchError:
    return BenchError(
        f"the training behind the cell is no longer kept in {entry.path}; bench run what the cell "
        "is of with force=true, which trains it again"
    )


def trained(
    task: TrainingTask,
    entry: CacheEntry | None,
    hosting: Hosting,
    progress: Progress,
    only_kept: bool = False,
) -> TrainedNetwork:
    """Return the trained network of `task.cell`, at its bits, for evaluation.

    entry: where the training of `training_key` is kept; None to train again and keep nothing.
    hosting: has the other machines that take part, where there are some.
    only_kept: whether nothing is trained.

    Raises BenchError for a training that diverges, for files of `entry` that are not of it, and
    with `only_kept` where there are none.
    """
    cell, method, images, training_set = task.cell, task.method, task.images, task.training_set
    assert training_set is None or isinstance(training_set, ImageSet)
    if training_set is not None:
        _check_classes(task.network, training_set, images)
    check_shareable(task)

    def run(checkpoint: Path | None) -> Trained:
        if only_kept and entry is not None:
            raise _gone(entry)
        return run_training(task, checkpoint, hosting.host, progress)

    if entry is None:
        state, history, pictures = run(None)
        generated = _as_picture(pictures, cell)
    else:
        state, history, generated = _read_or_train(entry, task, run)

    def real_images(count: int) -> Tensor:
        if training_set is None:
            raise reached_for_images(method.name)
        generator = numpy_generator(cell.seed, "batchnorm")
        indices = calibration_indices(training_set.listing, count, generator)
        pixels = torch.from_numpy(np.ascontiguousarray(training_set.frames(indices)))
        return cell.weights.preprocessing.normalise(pixels)

    network = method.used_at(task.network, state, cell.spec, images, real_images)
    network = freeze(network).requires_grad_(False)
    warnings = method.warnings(network, cell.spec, history)
    return TrainedNetwork(network, training_key(cell, method), history, warnings, generated)


def _as_picture(images: Tensor | None, cell: Cell) -> bytes | None:
    """Return images over time as a PNG. Where it cannot be drawn, a warning says so."""
    if images is None:
        return None
    try:
        return over_time(images, cast("Preprocessing", cell.weights.preprocessing))
    except Exception as error:  # whatever it is, the training is done
        reason = first_line(error) or type(error).__name__
        log.warning("warning: %s is not drawn: %s", GENERATED, reason)
        return None


def _read_or_train(entry: CacheEntry, task: TrainingTask, run: Callable[[Path], Trained]) -> _Kept:
    def read() -> _Kept | None:
        _check_identity(entry, training_identity(task.cell, task.method))
        return entry.read(load)

    def load() -> _Kept:
        state = load_file(entry.file(WEIGHTS), device=str(task.images.device))
        picture = entry.file(GENERATED)
        generated = picture.read_bytes() if picture.exists() else None
        return state, json.loads(entry.file(HISTORY).read_bytes()), generated

    def make() -> _Kept:
        checkpoint = entry.file(CHECKPOINT)
        state, history, pictures = run(checkpoint)
        entry.write(HISTORY, json.dumps(history))
        generated = _as_picture(pictures, task.cell)
        if generated is not None:
            entry.file(GENERATED).write_bytes(generated)
        entry.complete(partial(save_file, state))
        checkpoint.unlink(missing_ok=True)
        return entry.reread(entry.read(load))

    return entry.read_or_make(read, make)


def _check_classes(network: nn.Module, training_set: ImageSet, images: Tensor) -> None:
    highest = int(training_set.labels.max())
    with torch.inference_mode():
        outputs = network(images[:1]).shape[1]
    if highest >= outputs:
        raise BenchError(
            f"{training_set.listing.name} has a label {highest} and the network only {outputs} "
            "classes; choose a data set that belongs to the model"
        )


def _check_identity(entry: CacheEntry, identity: dict[str, Any]) -> None:
    content = json.dumps(identity, indent=1)
    try:
        there = json.loads(entry.file(IDENTITY).read_bytes())
    except (FileNotFoundError, ValueError):
        entry.write(IDENTITY, content)
        return
    if there != json.loads(content):
        raise BenchError(
            f"{entry.path} holds the training of another recipe than its name says; move it away"
        )
