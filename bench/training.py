"""Trained networks: trained once for all bit-widths, kept, and taken up again after a kill."""

import copy
import json
import logging
import signal
from dataclasses import dataclass
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
from bench.checkpoint import OnDisk
from bench.checksum import CHECKSUMS, checksums, folder_fits
from bench.config import RuntimeConfig
from bench.data import ImageSet, Listing, calibration_indices, reopen
from bench.feed import feed_training, fits_on
from bench.interrupts import HeldSignals
from bench.machine import prepare_device
from bench.machines import hosted
from bench.seeds import numpy_generator, torch_generator
from bench.store import write_whole
from bench.workers import Together, launch
from methods.base import Progress, no_progress
from methods.training.base import TrainedMethod
from methods.training.loop import Training
from methods.training.surroundings import Alone, InMemory, Workers
from models.errors import BenchError
from models.qat.network import freeze
from models.qat.spec import QatSpec
from models.qat.surrogate import SIGNED
from models.qat.sync import synced

log = logging.getLogger(__name__)

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
    runtime: RuntimeConfig,
    progress: Progress,
) -> Used:
    """Return the trained network of `cell`, at its bits, for evaluation.

    network: float, on the device to train on. images: what `method.calibrate` returned.
    cache: where trainings are kept, each in a folder of its own; None to train again and keep
        nothing. runtime: how many processes share each batch, and on how many machines.

    Raises BenchError for a training that diverges, and for files in `cache` that are not of it.
    """
    wanted = int(cell.spec.w_bits)
    identity = training_identity(cell, method)
    key = digest(identity)
    _check_classes(network, training_set, images)
    if runtime.processes > 1:
        _check_shareable(method.training_spec(wanted), runtime.processes)

    def train(checkpoint: Path | None) -> Trained:
        if runtime.processes == 1:
            task = _Task(cell, method, network, images, training_set, runtime, 1)
            return _train(Alone(), images.device, task, checkpoint, progress)
        host = hosted()
        machines = 1 if host is None else host.machines
        own = copy.deepcopy(network).cpu()
        here = runtime.processes // machines
        source = _for_others(training_set, images.device, here, machines)
        task = _Task(cell, method, own, images.cpu(), source, runtime, here)
        start = launch if host is None else host.launch
        # Through a file: what a process returns has to fit into a pipe.
        with TemporaryDirectory() as folder:
            path = Path(folder) / "trained"
            what = (_train_together, task, checkpoint, path)
            start(here, images.device, *what)
            return cast("Trained", torch.load(path, weights_only=True))

    if cache is None:
        state, history = train(None)
    else:
        folder = cache / key
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            _check_identity(folder / "identity.json", identity)
            found = _kept(folder, images.device)
            if found is None:
                checkpoint = folder / "checkpoint.pt"
                _keep(folder, *train(checkpoint))
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

    used = method.used_at(network, state, wanted, images, real_images)
    return Used(freeze(used).requires_grad_(False), key, history)


@dataclass(frozen=True)
class _Kept:
    """Where decoded images lie, for a process that opens them itself: see `bench.data.reopen`.

    It is unpickled only where they are: another machine without them says so before it trains.
    """

    listing: Listing
    folder: Path
    size: int

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.open()

    def open(self) -> ImageSet:
        return reopen(self.listing, self.folder, self.size)


class _Task(NamedTuple):
    """What the processes of one training are given.

    here: how many of them each machine has.
    """

    cell: Cell
    method: TrainedMethod
    network: nn.Module
    images: Tensor
    training_set: ImageSet | _Kept
    runtime: RuntimeConfig
    here: int


def _for_others(
    images: ImageSet, device: torch.device, here: int, machines: int
) -> ImageSet | _Kept:
    """Return how other processes get `images`: from the file, on other machines if they can see it.

    Where the images fit on the device, other machines are sent them.
    """
    fit = fits_on(device, images, here)
    whole = images.pixels(slice(None)) if fit else None  # damage is found, and repaired, here
    if images.checks is not None and (machines == 1 or whole is None):
        return _Kept(images.listing, images.checks.folder.resolve(), images.images.shape[-1])
    return images if whole is None else ImageSet(images.listing, np.ascontiguousarray(whole))


def _train(
    workers: Workers,
    device: torch.device,
    task: _Task,
    checkpoint: Path | None,
    progress: Progress,
) -> Trained:
    cell, method, wanted = task.cell, task.method, int(task.cell.spec.w_bits)
    given = task.training_set
    training_set = given.open() if isinstance(given, _Kept) else given
    generator = torch_generator(cell.seed, "training")
    images = task.images.to(device).contiguous(memory_format=torch.channels_last)
    made = method.trainable(task.network.to(device), wanted, images, generator)
    if workers.count > 1:
        synced(made)
    training = Training(
        network=made,
        strategy=method.strategy(made, wanted),
        images=feed_training(training_set, device, task.here),
        targets=torch.tensor(training_set.labels, device=device),
        normalise=cell.weights.preprocessing.normalise,
        schedule=method.schedule,
        generator=generator,
        checkpoints=InMemory() if checkpoint is None else OnDisk(checkpoint, workers),
        workers=workers,
        progress=progress,
    )
    if checkpoint is None or workers.count > 1:  # nothing is kept, or by all at an epoch's end only
        history = training.run()
    else:
        with HeldSignals() as training.interrupts:
            history = training.run()
    return {name: value.cpu().contiguous() for name, value in made.state_dict().items()}, history


def _train_together(fabric: Any, task: _Task, checkpoint: Path | None, result: Path) -> None:
    """Train as one of several processes; a progress callback does not travel to them."""
    # For the process that has started these, which is in the same group.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    prepare_device(task.runtime.model_copy(update={"device": str(fabric.device)}))
    done = _train(Together(fabric), fabric.device, task, checkpoint, no_progress)
    if fabric.global_rank == 0:
        torch.save(done, result)


def _check_shareable(spec: QatSpec, processes: int) -> None:
    """Raise BenchError for quantizers that change the gradient of a weight before it is averaged.

    What each process makes of the gradient of its own images is not, on average, what one process
    makes of that of all.
    """
    local = [
        f"{key}={value}"
        for key, value, changes in (
            ("qat.weight_quantizer", spec.weight_quantizer, ("step_range",)),
            ("qat.activation_quantizer", spec.activation_quantizer, ("step_range",)),
            ("qat.weight_surrogate", spec.weight_surrogate, SIGNED),
        )
        if value in changes
    ]
    if local:
        raise BenchError(
            f"runtime.processes={processes} with method.{local[0]} would train another network "
            "than one process does, since it changes gradients before they are averaged; give "
            "runtime.processes=1"
        )


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
