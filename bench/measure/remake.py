"""The networks of a finished cell, made again from what the caches have of it."""

import logging
from typing import NamedTuple

from torch import nn

from bench.cells.cell import Cell
from bench.data import ImageSet, with_whole_images
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, TRAINING
from bench.machine.device import Device, prepare_device
from bench.measure.clock import Clock
from bench.measure.integers import grids_by_channel
from bench.measure.making import Making
from bench.measure.mixed import budget_of
from bench.measure.resources import Resources
from bench.measure.search import search_prices
from bench.training.cache import check_kept, training_key
from methods.training.base import TrainedMethod
from models.qat.plain import as_quantized
from models.quantize.fuse import fuse_relus
from models.quantize.network import QuantizedNetwork

log = logging.getLogger(__name__)


class Remade(NamedTuple):
    """The networks of a cell, made again; no number is measured.

    network: the float one. made: the quantized one, as it is evaluated. images: of the evaluation.
    by_channel: whether weights have a grid an output channel.
    """

    network: nn.Module
    made: QuantizedNetwork
    images: ImageSet
    device: Device
    by_channel: bool


def remake(cell: Cell, resources: Resources, clock: Clock) -> Remade:
    """Quantize the network of `cell` again, from what the caches have of it.

    cell: not of a float network.
    Raises BenchError where it was trained and the training is no longer kept.
    """
    making = Making(cell, resources, clock, fresh=False)
    return with_whole_images(lambda: _remade(making))


def _remade(making: Making) -> Remade:
    cell, method = making.cell, making.cell.method
    device = prepare_device(cell.request.config.runtime, making.resources.gpus)
    network = making.resources.networks.get(cell.entry.name, cell.weights, device).network
    limit, prices = budget_of(cell, network), search_prices(cell, network)
    if isinstance(method, TrainedMethod):
        check_kept(CacheEntry(making.caches, TRAINING, training_key(cell, method)))
    images, training = making.decode()
    entry = making.entry(CALIBRATION, cell.calibration_key)
    if entry is not None and method.image_method.cached and not entry.is_whole:
        log.warning("warning: the calibration images are no longer kept: they are made again")
    _, batch = making.synthesise(network, training, device)
    if isinstance(method, TrainedMethod):
        task = making.training_task(method, network, batch, training)
        made = as_quantized(making.trained(task, only_kept=True).network)
    else:
        made = making.post_training(network, batch, training, limit, prices, 0.0).network
    fuse_relus(made.network, batch[:1])
    return Remade(network, made, images, device, grids_by_channel(cell))
