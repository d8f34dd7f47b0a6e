"""How the quantized network of a cell is made: from its images, by calibration or training."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import torch_generator
from bench.data import ImageCache, ImageSet, Listing, decode
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, GRAM, ROUNDED, SEARCH, SENSITIVITY, TRAINING, Kind
from bench.machine.device import Device
from bench.measure.calibration import Source, calibrate
from bench.measure.clock import Clock
from bench.measure.grams import grams_key, kept_grams, uses_grams
from bench.measure.mixed import choose, measured_sensitivity, sensitivity_key
from bench.measure.resources import Resources
from bench.measure.rounded import keeps_weights, kept_weights, weights_key
from bench.measure.search import about_search, problem_of, search_key, searched
from bench.training.cache import TrainedNetwork, trained, training_key
from bench.training.run import TrainingTask
from methods.search.base import SearchMethod
from methods.training.base import TrainedMethod
from models.preprocessing import laid_out
from models.quantize.bits import ChosenBits
from models.quantize.mixed import Budget
from models.quantize.network import QuantizedNetwork
from models.quantize.prices import Prices

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """A network, the size of its weights at their bits alone, and how these were chosen."""

    network: QuantizedNetwork
    size_mb: float
    mixed: dict[str, Any] | None


@dataclass(frozen=True)
class Making:
    """What a cell's network is made with, each phase of it timed.

    resources: what cells share. fresh: use nothing that caches have kept, and keep nothing.
    """

    cell: Cell
    resources: Resources
    clock: Clock
    fresh: bool

    def entry(self, kind: Kind, key: str) -> CacheEntry | None:
        """Return where something is kept under `key`; None where nothing kept is to be used."""
        return None if self.fresh else CacheEntry(self.caches, kind, key)

    @property
    def caches(self) -> Path:
        """The folder of what is kept to be used again."""
        return self.cell.request.config.paths.outputs / "cache"

    def decode(self) -> tuple[ImageSet, ImageSet | None]:
        """Return the evaluation set, and the training side where the method needs it."""
        cell, config = self.cell, self.cell.request.config
        cache = ImageCache(self.caches, self.resources.checked)
        with self.clock.phase("decode") as progress:

            def decoded(listing: Listing) -> ImageSet:
                how = cell.weights.preprocessing
                return decode(listing, config.data, how, cache, progress, config.runtime.workers)

            images = decoded(cell.listing)
            return images, decoded(cell.calibration) if cell.calibration else None

    def synthesise(
        self, network: nn.Module, training: ImageSet | None, device: Device
    ) -> tuple[Source, Tensor]:
        """Return the calibration images, and these on the device as a network reads them."""
        cell = self.cell
        with self.clock.phase("synthesise") as progress:
            entry = self.entry(CALIBRATION, cell.calibration_key)
            source = calibrate(cell, network, training, device, entry, progress)
        batch = source.calibration.images.to(device.device)
        return source, laid_out(batch, device.memory_format)

    def post_training(
        self,
        network: nn.Module,
        batch: Tensor,
        training: ImageSet | None,
        limit: Budget | None,
        prices: Prices | None,
        size_mb: float,
    ) -> Made:
        """Quantize `network` without training it, at bits that are said, chosen or searched for.

        batch: the calibration images. size_mb: of its weights where all have the cell's bits.
        """
        if prices is not None and training is not None:
            return self.search(network, batch, training, prices)
        return self.quantize(network, batch, limit, size_mb)

    def quantize(
        self, network: nn.Module, batch: Tensor, limit: Budget | None, size_mb: float
    ) -> Made:
        """Quantize `network` on the calibration images `batch`; within the limit, if there is one.

        size_mb: of its weights where all layers have the bits of the cell.
        """
        cell, mixed, bits = self.cell, None, None
        if limit is not None:
            with self.clock.phase("sensitivity") as progress:
                entry = self.entry(SENSITIVITY, sensitivity_key(cell))
                sensitivities = measured_sensitivity(cell, network, batch, entry, progress)
                assignment, mixed = choose(network, sensitivities, limit)
                bits, size_mb = ChosenBits(assignment.bits), assignment.size_mb
        return Made(self.quantize_at(network, batch, bits), size_mb, mixed)

    def search(self, network: nn.Module, batch: Tensor, training: ImageSet, prices: Prices) -> Made:
        """Quantize `network` at the bits that its method finds."""
        cell, method = self.cell, self.cell.method
        assert isinstance(method, SearchMethod)
        with self.clock.phase("search") as progress:
            problem = problem_of(cell, method, network, batch, training, prices)
            found = searched(method, problem, self.entry(SEARCH, search_key(cell)), progress)
        made = self.quantize_at(network, batch, found.bits)
        with self.clock.phase("quantize"):
            generator = torch_generator(cell.seed, "finetune")
            method.finish(problem, made, found.bits, generator)
        mixed = about_search(found, problem)
        return Made(made, mixed["size_mb"], mixed)

    def quantize_at(
        self, network: nn.Module, batch: Tensor, bits: ChosenBits | None
    ) -> QuantizedNetwork:
        cell = self.cell
        with self.clock.phase("quantize") as progress:
            generator = torch_generator(cell.seed, "rounding")
            grams = self.entry(GRAM, grams_key(cell, batch)) if uses_grams(cell) else None
            weights = None
            if keeps_weights(cell):
                weights = self.entry(ROUNDED, weights_key(cell, batch, bits))
            quantize, device = cell.method.quantize, batch.device
            with kept_grams(grams, device), kept_weights(weights, device, self.clock):
                return quantize(network, cell.spec, batch, generator, progress, bits)

    def training_task(
        self, method: TrainedMethod, network: nn.Module, batch: Tensor, training: ImageSet | None
    ) -> TrainingTask:
        trains_on = training if method.needs_real_images else None
        return TrainingTask(
            self.cell, method, network, batch, trains_on, self.cell.request.config.runtime
        )

    def trained(self, task: TrainingTask, only_kept: bool = False) -> TrainedNetwork:
        with self.clock.phase("train") as progress:
            entry = self.entry(TRAINING, training_key(task.cell, task.method))
            return trained(task, entry, self.resources.hosting, progress, only_kept)
