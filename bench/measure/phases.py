"""The way of one cell: network, images, calibration, quantization, correctness."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import torch_generator
from bench.config.schema import Config
from bench.data import ImageSet, Listing, decode, with_whole_images
from bench.machine.device import batch_size, memory_format, prepare_device
from bench.measure.calibration import calibrate
from bench.measure.clock import Clock
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.mixed import blank_image, budget_of, choose, measured_sensitivity
from bench.measure.resources import Resources
from bench.training.cache import trained
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
    device = prepare_device(config.runtime)
    layout = memory_format(config.runtime)
    caches = config.paths.outputs / "cache"
    with clock.phase("load"):
        network, sha256 = resources.networks.get(cell.entry.name, cell.weights, device, layout)
        given = budget_of(cell, network)  # what cannot be met fails before any long work
        size = 0.0 if given else uniform_size_mb(network, cell.spec, blank_image(cell, network))
    with clock.phase("decode") as progress:
        images = _images(cell, cell.listing, config, progress)
        training = _images(cell, cell.calibration, config, progress) if cell.calibration else None
    count, indices = 0, []
    chosen, said, training_record = None, None, None
    if not cell.spec.is_float:
        with clock.phase("synthesise") as progress:
            folder = caches / "calibration" / cell.calibration_key
            source = calibrate(cell, network, training, device, layout, folder, fresh, progress)
            count, indices = len(source.calibration.images), source.indices
        batch = source.calibration.images.to(device).contiguous(memory_format=layout)
        if given is not None:
            with clock.phase("sensitivity") as progress:
                cache = None if fresh else caches / "sensitivity"
                found = measured_sensitivity(cell, network, batch, cache, progress)
                chosen, said = choose(network, found, given)
        if isinstance(cell.method, TrainedMethod) and training is not None:
            with clock.phase("train") as progress:
                cache = None if fresh else caches / "training"
                how = (training, cache, config.runtime, progress)
                used = trained(cell, cell.method, network, batch, *how)
            network, size = used.network, weights_size_mb(used.network)
            training_record = {"key": used.key, "epochs": used.history}
        else:
            with clock.phase("quantize") as progress:
                network = _quantized(cell, network, batch, chosen, progress)
    with clock.phase("evaluate") as progress:
        evaluation = evaluate(
            network,
            images,
            cell.weights.preprocessing,
            device,
            layout,
            batch_size(config.runtime, device, cell.weights.preprocessing.size**2),
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
    found = cell.method.quantize(network, cell.spec, batch, generator, progress, bits).network
    fuse_relus(found, batch[:1])
    return found


def _images(cell: Cell, listing: Listing, config: Config, progress: Progress) -> ImageSet:
    cache: Path = config.paths.outputs / "cache" / "data"
    return decode(
        listing,
        config.data,
        cell.weights.preprocessing,
        cache,
        progress,
        config.runtime.workers,
    )
