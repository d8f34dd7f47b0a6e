"""Trained networks: trained once for all bit-widths, kept, and taken up again after a kill."""

import copy
import json
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cell import Cell, digest
from bench.data import ImageSet, calibration_indices
from bench.seeds import numpy_generator, torch_generator
from bench.store import write_whole
from bench.workers import Together, launch
from methods.base import Progress, no_progress
from methods.training.base import TrainedMethod
from methods.training.loop import Alone, InMemory, State, Training, Workers
from models.errors import BenchError
from models.qat.network import freeze
from models.qat.sync import synced

History = list[dict[str, Any]]
Trained = tuple[dict[str, Tensor], History]


class Used(NamedTuple):
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


def trained(
    cell: Cell,
    method: TrainedMethod,
    network: nn.Module,
    images: Tensor,
    training_set: ImageSet,
    cache: Path | None,
    processes: int,
    progress: Progress,
) -> Used:
    """Return the trained network of `cell`, at its bits, for evaluation.

    network: float, on the device to train on. images: what `method.calibrate` returned.
    cache: where trainings are kept, each in a folder of its own; None to train again and keep
        nothing. processes: that share each batch.

    Raises BenchError for a training that diverges, and for files in `cache` that are not of it.
    """
    wanted = int(cell.spec.w_bits)
    identity = training_identity(cell, method)
    key = digest(identity)
    _check_classes(network, training_set, images)

    def train(checkpoint: Path | None) -> Trained:
        own = network if processes == 1 else copy.deepcopy(network).cpu()
        task = _Task(cell, method, own, images.cpu(), np.ascontiguousarray(training_set.images))
        if processes == 1:
            return _train(Alone(), images.device, task, checkpoint, progress)
        # Through a file: what a process returns has to fit into a pipe.
        with TemporaryDirectory() as folder:
            path = Path(folder) / "trained"
            launch(processes, images.device, _train_together, task, checkpoint, path)
            return cast("Trained", torch.load(path, weights_only=True))

    if cache is None:
        state, history = train(None)
    else:
        folder = cache / key
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            _check_identity(folder / "identity.json", identity)
            if not (folder / "trained.safetensors").exists():
                checkpoint = folder / "checkpoint.pt"
                _keep(folder, *train(checkpoint))
                checkpoint.unlink(missing_ok=True)
            state, history = _kept(folder, images.device)

    def real_images(count: int) -> Tensor:
        generator = numpy_generator(cell.seed, "batchnorm")
        indices = calibration_indices(training_set.listing, count, generator)
        pixels = torch.from_numpy(np.ascontiguousarray(training_set.images[indices]))
        return cell.weights.preprocessing.normalise(pixels)

    used = method.used_at(network, state, wanted, images, real_images)
    return Used(freeze(used).requires_grad_(False), key, history)


class _Task(NamedTuple):
    """What the processes of one training are given."""

    cell: Cell
    method: TrainedMethod
    network: nn.Module
    images: Tensor
    pixels: np.ndarray


def _train(
    workers: Workers,
    device: torch.device,
    task: _Task,
    checkpoint: Path | None,
    progress: Progress,
) -> Trained:
    cell, method, wanted = task.cell, task.method, int(task.cell.spec.w_bits)
    assert cell.calibration is not None
    generator = torch_generator(cell.seed, "training")
    images = task.images.to(device).contiguous(memory_format=torch.channels_last)
    made = method.trainable(task.network.to(device), wanted, images, generator)
    if workers.count > 1:
        synced(made)
    history = Training(
        network=made,
        strategy=method.strategy(made, wanted),
        pixels=torch.tensor(task.pixels, device=device),
        targets=torch.tensor(cell.calibration.labels, device=device),
        normalise=cell.weights.preprocessing.normalise,
        schedule=method.schedule,
        generator=generator,
        checkpoints=InMemory() if checkpoint is None else OnDisk(checkpoint, device, workers.rank),
        workers=workers,
        progress=progress,
    ).run()
    return {name: value.cpu().contiguous() for name, value in made.state_dict().items()}, history


def _train_together(fabric: Any, task: _Task, checkpoint: Path | None, result: Path) -> None:
    """Train as one of several processes; a progress callback does not travel to them."""
    torch.set_num_threads(max(1, torch.get_num_threads() // fabric.world_size))
    done = _train(Together(fabric), fabric.device, task, checkpoint, no_progress)
    if fabric.global_rank == 0:
        torch.save(done, result)


class OnDisk:
    """The last state of a training in one file, written whole, by the first of the processes."""

    def __init__(self, path: Path, device: torch.device, rank: int = 0) -> None:
        self.path = path
        self.device = device
        self.rank = rank

    @property
    def place(self) -> str:
        return str(self.path)

    def load(self) -> State | None:
        if not self.path.exists():
            return None
        try:
            state: State = torch.load(self.path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise BenchError(
                f"cannot read the checkpoint {self.path}: {type(error).__name__}; remove it to "
                "train from the start"
            ) from error
        return state

    def save(self, state: State) -> None:
        if self.rank:
            return
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


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
    if not path.exists():
        write_whole(path, said)
    elif json.loads(path.read_bytes()) != json.loads(said):
        raise BenchError(
            f"{path.parent} holds the training of another recipe than its name says; move it away"
        )


def _keep(folder: Path, state: dict[str, Tensor], history: History) -> None:
    write_whole(folder / "history.json", json.dumps(history))
    # The weights come last: where they are, everything is.
    partial = folder / "trained.partial"
    save_file(state, partial)
    partial.replace(folder / "trained.safetensors")


def _kept(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], History]:
    path = folder / "trained.safetensors"
    try:
        state = load_file(path, device=str(device))
        history: History = json.loads((folder / "history.json").read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise BenchError(
            f"cannot read the trained network in {folder}: {type(error).__name__}; remove that "
            "folder to train again"
        ) from error
    return state, history
