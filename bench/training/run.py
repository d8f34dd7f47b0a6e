"""One training from its start to its end, in this process or shared by several."""

import copy
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import torch_generator
from bench.config.schema import RuntimeConfig
from bench.data import ImageSet, Listing, reopen
from bench.data.feed import feed_training, fits_on
from bench.data.imageset import Stored
from bench.files.entry import CacheEntry
from bench.machine.device import prepare_device
from bench.machine.share import GpuClaim
from bench.training.checkpoint import OnDisk
from bench.training.host import Host
from bench.training.interrupts import HeldSignals
from bench.training.processes import Together, launch
from methods.base import Progress, no_progress
from methods.training.base import TrainedMethod
from methods.training.loop import Training
from methods.training.surroundings import Alone, Examples, InMemory, Workers
from models.errors import BenchError
from models.preprocessing import laid_out
from models.qat.spec import NOISES
from models.qat.surrogate import SIGNED
from models.qat.sync import synced

History = list[dict[str, Any]]
Trained = tuple[dict[str, Tensor], History, Tensor | None]
"""The state of a trained network, a record of each epoch, and `Strategy.pictures`."""


@dataclass(frozen=True)
class _DecodedImages:
    """Where decoded images lie, for a process that opens them itself: see `bench.data.reopen`.

    It is unpickled only where they are: another machine without them says so before it trains.
    """

    listing: Listing
    entry: CacheEntry
    stored: Stored

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.open()

    def open(self) -> ImageSet:
        return reopen(self.listing, self.entry, self.stored)


class TrainingTask(NamedTuple):
    """What the processes of one training are given.

    network: float, on the device of `images`, what `method.calibrate` returned.
    training_set: None for a method that sees no training images.
    here: how many of the processes each machine has.
    """

    cell: Cell
    method: TrainedMethod
    network: nn.Module
    images: Tensor
    training_set: ImageSet | _DecodedImages | None
    runtime: RuntimeConfig
    here: int = 1


def run_training(
    task: TrainingTask, checkpoint: Path | None, host: Host | None, progress: Progress
) -> Trained:
    """Train, alone or in as many processes and on as many machines as `task.runtime` says.

    checkpoint: the file of the state to go on from; None to keep none.
    host: hands the training over to other machines; None on one machine.
    Raises BenchError for a training that diverges.
    """
    device, processes = task.images.device, task.runtime.processes
    if processes == 1:
        return _train(Alone(), device, task, checkpoint, progress)
    training_set = task.training_set
    assert not isinstance(training_set, _DecodedImages)
    machines = 1 if host is None else host.machines
    here = processes // machines
    shared = task._replace(
        network=copy.deepcopy(task.network).cpu(),
        images=task.images.cpu(),
        training_set=None
        if training_set is None
        else _for_others(training_set, device, here, machines),
        here=here,
    )
    start = launch if host is None else host.launch
    # Through a file: what a process returns has to fit into a pipe.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trained"
        start(here, device, _train_together, shared, checkpoint, path)
        return cast("Trained", torch.load(path, weights_only=True))


def check_shareable(task: TrainingTask) -> None:
    """Raise BenchError where several processes would not train what one does.

    That is with quantizers that change the gradient of a weight before it is averaged: what each
    process makes of that of its own images is not, on average, what one makes of that of all.
    """
    processes = task.runtime.processes
    if processes == 1:
        return
    if why := task.method.unshareable:
        raise BenchError(f"runtime.processes={processes}: {why}; give runtime.processes=1")
    spec = task.method.training_spec(task.cell.spec)
    limited = ("step_range",) if spec.learned else ()
    local = [
        f"{key}={value}"
        for key, value, changes in (
            ("qat.weight_quantizer", spec.weight_quantizer, limited),
            ("qat.activation_quantizer", spec.activation_quantizer, limited),
            ("qat.weight_surrogate", spec.weight_surrogate, (*SIGNED, *NOISES)),
        )
        if value in changes
    ]
    if local:
        raise BenchError(
            f"runtime.processes={processes} with method.{local[0]} would train another network "
            "than one process does, since it changes gradients before they are averaged; give "
            "runtime.processes=1"
        )


def _for_others(
    images: ImageSet, device: torch.device, here: int, machines: int
) -> ImageSet | _DecodedImages:
    """Return how other processes get `images`: from the file, on other machines if they can see it.

    Where the images fit on the device, other machines are sent them.
    """
    fit = fits_on(device, images, here)
    whole = images.pixels(slice(None)) if fit else None  # damage is found, and repaired, here
    if images.checks is not None and (machines == 1 or whole is None):
        # A path that means the same in the folder where another process works.
        entry = images.checks.entry
        entry = replace(entry, cache=entry.cache.resolve())
        return _DecodedImages(images.listing, entry, images.stored)
    return images if whole is None else ImageSet(images.listing, np.ascontiguousarray(whole))


def _train(
    workers: Workers,
    device: torch.device,
    task: TrainingTask,
    checkpoint: Path | None,
    progress: Progress,
) -> Trained:
    cell, method, quant = task.cell, task.method, task.cell.spec
    generator = torch_generator(cell.seed, "training")
    images = laid_out(task.images.to(device), torch.channels_last)
    teacher = task.network.to(device)
    network = method.trainable(teacher, quant, images, generator)
    if workers.count > 1:
        synced(network)
    strategy = method.strategy(network, quant, teacher)
    clip = None
    if method.needs_real_images:
        images_of, targets, normalise = _real_examples(task, device)
        clip = cell.calibration.clip if cell.calibration else None
    else:
        images_of, targets, normalise = strategy.examples(images, generator)
    training = Training(
        network=network,
        strategy=strategy,
        images=images_of,
        targets=targets,
        normalise=normalise,
        schedules=method.schedules,
        generator=generator,
        checkpoints=InMemory() if checkpoint is None else OnDisk(checkpoint, workers),
        workers=workers,
        progress=progress,
        clip=clip,
    )
    if checkpoint is None or workers.count > 1:  # nothing is kept, or by all at an epoch's end only
        history = training.run()
    else:
        with HeldSignals() as training.interrupts:
            history = training.run()
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    return state, history, strategy.pictures()


def _real_examples(task: TrainingTask, device: torch.device) -> Examples:
    images_of = task.training_set
    training_set = images_of.open() if isinstance(images_of, _DecodedImages) else images_of
    assert training_set is not None
    labels = torch.tensor(training_set.labels, device=device)
    normalise = task.cell.weights.preprocessing.normalise
    return Examples(feed_training(training_set, device, task.here), labels, normalise)


def _train_together(fabric: Any, task: TrainingTask, checkpoint: Path | None, result: Path) -> None:
    """Train as one of several processes; a progress callback does not travel to them."""
    # For the process that has started these, which is in the same group.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # Which device is not a question here: nothing is claimed.
    prepare_device(task.runtime.model_copy(update={"device": str(fabric.device)}), GpuClaim())
    trained = _train(Together(fabric), fabric.device, task, checkpoint, no_progress)
    if fabric.global_rank == 0:
        torch.save(trained, result)
