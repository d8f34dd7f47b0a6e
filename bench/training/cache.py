"""Trained networks: trained once for all bit-widths, kept, and taken up again after a kill."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cells.cell import Cell, digest
from bench.cells.seeds import numpy_generator
from bench.data import ImageSet, calibration_indices
from bench.files.checksum import CHECKSUMS, checksums, folder_fits
from bench.files.whole import write_whole
from bench.training.host import Hosting
from bench.training.run import History, Task, Trained, check_shareable, run_training
from methods.base import Progress
from methods.training.base import TrainedMethod
from models.errors import BenchError
from models.qat.network import freeze

log = logging.getLogger(__name__)


class TrainedNetwork(NamedTuple):
    """A trained network at the bits of a cell, and how it came about.

    key: of the training; cells with the same key look at the same weights.
    history: one record an epoch.
    """

    network: nn.Module
    key: str
    history: History


def training_identity(cell: Cell, method: TrainedMethod) -> dict[str, Any]:
    """Return all that the weights behind `cell` depend on: not the cell's own bits as such."""
    return cell.source | {"method": method.identity_of_training(int(cell.spec.w_bits))}


def trained(task: Task, cache: Path | None, hosting: Hosting, progress: Progress) -> TrainedNetwork:
    """Return the trained network of `task.cell`, at its bits, for evaluation.

    cache: where trainings are kept, each in a folder of its own; None to train again and keep
        nothing. hosting: has the other machines that take part, where there are some.

    Raises BenchError for a training that diverges, and for files in `cache` that are not of it.
    """
    cell, method, images, training_set = task.cell, task.method, task.images, task.training_set
    assert isinstance(training_set, ImageSet)
    identity = training_identity(cell, method)
    key = digest(identity)
    _check_classes(task.network, training_set, images)
    check_shareable(task)

    if cache is None:
        state, history = run_training(task, None, hosting.host, progress)
    else:
        folder = cache / key
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            _check_identity(folder / "identity.json", identity)
            found = _kept(folder, images.device)
            if found is None:
                checkpoint = folder / "checkpoint.pt"
                _keep(folder, *run_training(task, checkpoint, hosting.host, progress))
                checkpoint.unlink(missing_ok=True)
                found = _kept(folder, images.device)
            if found is None:
                raise BenchError(f"{folder} is damaged as soon as it is written; check the disk")
            state, history = found

    def real_images(count: int) -> Tensor:
        generator = numpy_generator(cell.seed, "batchnorm")
        indices = calibration_indices(training_set.listing, count, generator)
        pixels = torch.from_numpy(np.ascontiguousarray(training_set.pixels(indices)))
        return cell.weights.preprocessing.normalise(pixels)

    bits = int(cell.spec.w_bits)
    network = method.used_at(task.network, state, bits, images, real_images)
    return TrainedNetwork(freeze(network).requires_grad_(False), key, history)


def _check_classes(network: nn.Module, training_set: ImageSet, images: Tensor) -> None:
    highest = int(training_set.labels.max())
    with torch.inference_mode():
        outputs = network(images[:1]).shape[1]
    if highest >= outputs:
        raise BenchError(
            f"{training_set.listing.name} has a label {highest} and the network only {outputs} "
            "classes; choose a data set that belongs to the model"
        )


def _check_identity(path: Path, identity: dict[str, Any]) -> None:
    said = json.dumps(identity, indent=1)
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        write_whole(path, said)
        return
    if kept != json.loads(said):
        raise BenchError(
            f"{path.parent} holds the training of another recipe than its name says; move it away"
        )


def _keep(folder: Path, state: dict[str, Tensor], history: History) -> None:
    write_whole(folder / "history.json", json.dumps(history))
    # The weights come last: where they are, everything is.
    partial = folder / "trained.partial"
    save_file(state, partial)
    files = {"trained.safetensors": partial, "history.json": folder / "history.json"}
    write_whole(folder / CHECKSUMS, checksums(files))
    partial.replace(folder / "trained.safetensors")


def _kept(folder: Path, device: torch.device) -> Trained | None:
    """Return what is kept in `folder`; None where nothing is, or where it is damaged."""
    path = folder / "trained.safetensors"
    if not path.exists():
        return None
    try:
        if folder_fits(folder):
            state = load_file(path, device=str(device))
            return state, json.loads((folder / "history.json").read_bytes())
    except (SafetensorError, OSError, ValueError):
        pass
    log.warning("warning: the trained network in %s is damaged; trained again", folder)
    path.unlink()
    return None
