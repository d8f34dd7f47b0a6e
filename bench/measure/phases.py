"""The way of one cell: network, images, calibration, quantization, correctness."""

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import torch_generator
from bench.data import ImageCache, ImageSet, Listing, decode, with_whole_images
from bench.data.feed import feed
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, SENSITIVITY, TRAINING, Kind
from bench.machine.device import prepare_device
from bench.measure.calibration import calibrate
from bench.measure.clock import Clock
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.mixed import (
    blank_image,
    budget_of,
    choose,
    measured_sensitivity,
    sensitivity_key,
)
from bench.measure.resources import Resources
from bench.training.cache import trained, training_key
from bench.training.run import Task
from methods.base import Progress
from methods.training.base import TrainedMethod
from models.qat.network import weights_size_mb
from models.quantize.fuse import fuse_relus
from models.quantize.mixed import Assignment, uniform_size_mb


class Measurement(NamedTuple):
    """What a cell comes to.

    weights_sha256: of the weights that were loaded; None for a network trained from scratch.
    indices: the training images that it was calibrated with.
    size_mb: of the quantized weights, in MiB.
    mixed: how the bits of each layer were chosen, where they were.
    training: the key of the training and a record of each epoch, for a method that trains.
    evaluated, calibrated: what could be decoded of the sets that the cell asks for.
    """

    evaluation: Evaluation
    weights_sha256: str | None
    calibration_images: int
    indices: list[int]
    size_mb: float
    mixed: dict[str, Any] | None
    training: dict[str, Any] | None
    evaluated: Listing
    calibrated: Listing | None


def measure(cell: Cell, resources: Resources, clock: Clock, fresh: bool = False) -> Measurement:
    """Measure `cell`; what it shares with other cells is in `resources`, and in the caches.

    fresh: synthesise again instead of using what an earlier cell has kept.
    """
    return with_whole_images(partial(_measure, cell, resources, clock, fresh))


def _measure(cell: Cell, resources: Resources, clock: Clock, fresh: bool) -> Measurement:
    config = cell.request.config
    device = prepare_device(config.runtime, resources.gpus)
    caches = config.paths.outputs / "cache"
    with clock.phase("load"):
        network, sha256 = resources.networks.get(cell.entry.name, cell.weights, device)
        limit = budget_of(cell, network)  # what cannot be met fails before any long work
        size = 0.0 if limit else uniform_size_mb(network, cell.spec, blank_image(cell, network))
    with clock.phase("decode") as progress:
        image_cache = ImageCache(caches, resources.checked)

        def decoded(listing: Listing) -> ImageSet:
            preprocessing = cell.weights.preprocessing
            workers = config.runtime.workers
            return decode(listing, config.data, preprocessing, image_cache, progress, workers)

        images = decoded(cell.listing)
        training = decoded(cell.calibration) if cell.calibration else None
    count, indices = 0, []
    assignment, mixed, training_record = None, None, None

    def entry_of(kind: Kind, key: str) -> CacheEntry | None:
        return None if fresh else CacheEntry(caches, kind, key)

    if not cell.spec.is_float:
        with clock.phase("synthesise") as progress:
            cache_entry = entry_of(CALIBRATION, cell.calibration_key)
            source = calibrate(cell, network, training, device, cache_entry, progress)
            count, indices = len(source.calibration.images), source.indices
        batch = source.calibration.images.to(device.device)
        batch = batch.contiguous(memory_format=device.memory_format)
        if limit is not None:
            with clock.phase("sensitivity") as progress:
                cache_entry = entry_of(SENSITIVITY, sensitivity_key(cell))
                by_layer = measured_sensitivity(cell, network, batch, cache_entry, progress)
                assignment, mixed = choose(network, by_layer, limit)
        if isinstance(cell.method, TrainedMethod) and training is not None:
            with clock.phase("train") as progress:
                cache_entry = entry_of(TRAINING, training_key(cell, cell.method))
                task = Task(cell, cell.method, network, batch, training, config.runtime)
                done = trained(task, cache_entry, resources.hosting, progress)
            network, size = done.network, weights_size_mb(done.network)
            training_record = {"key": done.key, "epochs": done.history}
        else:
            with clock.phase("quantize") as progress:
                network = _quantized(cell, network, batch, assignment, progress)
    with clock.phase("evaluate") as progress:
        evaluation = evaluate(
            network,
            feed(images, device.device, resources.resident),
            cell.weights.preprocessing,
            device,
            progress,
            config.runtime.compile,
        )
    size = assignment.size_mb if assignment else size
    sets = images.listing, training.listing if training else None
    return Measurement(evaluation, sha256, count, indices, size, mixed, training_record, *sets)


def _quantized(
    cell: Cell, network: nn.Module, batch: Tensor, assignment: Assignment | None, progress: Progress
) -> nn.Module:
    generator = torch_generator(cell.seed, "rounding")
    bits = assignment.bits if assignment else None
    quantized = cell.method.quantize(network, cell.spec, batch, generator, progress, bits).network
    fuse_relus(quantized, batch[:1])
    return quantized
