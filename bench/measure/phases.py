"""The way of one cell: network, images, calibration, quantization, correctness."""

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import torch_generator
from bench.data import ImageCache, ImageSet, Listing, decode, with_whole_images
from bench.data.feed import feed
from bench.machine.device import prepare_device
from bench.measure.calibration import calibrate
from bench.measure.clock import Clock
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.mixed import blank_image, budget_of, choose, measured_sensitivity
from bench.measure.resources import Resources
from bench.training.cache import trained
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
    config = cell.request.given
    device = prepare_device(config.runtime, resources.gpus)
    caches = config.paths.outputs / "cache"
    with clock.phase("load"):
        network, sha256 = resources.networks.get(cell.entry.name, cell.weights, device)
        given = budget_of(cell, network)  # what cannot be met fails before any long work
        size = 0.0 if given else uniform_size_mb(network, cell.spec, blank_image(cell, network))
    with clock.phase("decode") as progress:
        image_cache = ImageCache(caches, resources.checked)

        def decoded(listing: Listing) -> ImageSet:
            preprocessing = cell.weights.preprocessing
            workers = config.runtime.workers
            return decode(listing, config.data, preprocessing, image_cache, progress, workers)

        images = decoded(cell.listing)
        training = decoded(cell.calibration) if cell.calibration else None
    count, indices = 0, []
    chosen, said, training_record = None, None, None
    if not cell.spec.is_float:
        with clock.phase("synthesise") as progress:
            folder = caches / "calibration" / cell.calibration_key
            source = calibrate(cell, network, training, device, folder, fresh, progress)
            count, indices = len(source.calibration.images), source.indices
        batch = source.calibration.images.to(device.device)
        batch = batch.contiguous(memory_format=device.memory_format)
        if given is not None:
            with clock.phase("sensitivity") as progress:
                cache = None if fresh else caches / "sensitivity"
                found = measured_sensitivity(cell, network, batch, cache, progress)
                chosen, said = choose(network, found, given)
        if isinstance(cell.method, TrainedMethod) and training is not None:
            with clock.phase("train") as progress:
                cache = None if fresh else caches / "training"
                task = Task(cell, cell.method, network, batch, training, config.runtime)
                outcome = trained(task, cache, resources.hosting, progress)
            network, size = outcome.network, weights_size_mb(outcome.network)
            training_record = {"key": outcome.key, "epochs": outcome.history}
        else:
            with clock.phase("quantize") as progress:
                network = _quantized(cell, network, batch, chosen, progress)
    with clock.phase("evaluate") as progress:
        evaluation = evaluate(
            network,
            feed(images, device.device, resources.resident),
            cell.weights.preprocessing,
            device,
            progress,
            config.runtime.compile,
        )
    size = chosen.size_mb if chosen else size
    sets = images.listing, training.listing if training else None
    return Measurement(evaluation, sha256, count, indices, size, said, training_record, *sets)


def _quantized(
    cell: Cell, network: nn.Module, batch: Tensor, chosen: Assignment | None, progress: Progress
) -> nn.Module:
    generator = torch_generator(cell.seed, "rounding")
    bits = chosen.bits if chosen else None
    quantized = cell.method.quantize(network, cell.spec, batch, generator, progress, bits).network
    fuse_relus(quantized, batch[:1])
    return quantized
