"""The way of one cell: network, images, calibration, quantization, evaluation."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.recipe import Observations
from bench.cells.seeds import torch_generator
from bench.config.schema import ONNXRUNTIME, TORCH
from bench.data import ImageCache, ImageSet, Listing, decode, with_whole_images
from bench.data.feed import feed
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, GRAM, SEARCH, SENSITIVITY, TRAINING, Kind
from bench.machine.device import Device, prepare_device
from bench.measure.calibration import calibrate
from bench.measure.clipping import clipping_warnings
from bench.measure.clock import Clock
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.examine import examined, examined_post_training, float_cost
from bench.measure.grams import grams_key, kept_grams, uses_grams
from bench.measure.integers import IntegerNetwork, grids_by_channel, integers_of
from bench.measure.logits import logit_mse
from bench.measure.mixed import (
    blank_image,
    budget_of,
    choose,
    latency_table,
    learned,
    measured_sensitivity,
    sensitivity_key,
)
from bench.measure.part import Part, evaluate_part
from bench.measure.resources import Resources
from bench.measure.search import (
    about_search,
    problem_of,
    search_key,
    search_prices,
    searched,
)
from bench.measure.warnings import of_behaviour, of_coverage
from bench.training.cache import TrainedNetwork, check_kept, trained, training_key
from bench.training.run import TrainingTask
from methods.search.base import SearchMethod
from methods.training.base import TrainedMethod
from models.detection import FoundBoxes
from models.preprocessing import laid_out
from models.qat.network import input_quantizers, layer_weights, weights_size_mb
from models.qat.plain import as_quantized
from models.quantize.bits import ChosenBits
from models.quantize.cost import Cost
from models.quantize.coverage import Coverage
from models.quantize.fuse import fuse_relus
from models.quantize.mixed import MIB_BITS, Budget, mean_bits, uniform_size_mb
from models.quantize.network import QuantizedNetwork
from models.quantize.prices import Prices

log = logging.getLogger(__name__)


class Measurement(NamedTuple):
    """What a cell comes to.

    observations: what its recipe says only now.
    outputs: of the network, for an image.
    coverage: what of the network is quantized; None of a float one, and where it is not known.
    cost: None where it is not known.
    size_mb: of the quantized weights, in MiB. mean_bits: of one of them.
    logit_mse: against the float network; None of a float one.
    mixed: how the bits of each layer were chosen, where they were.
    training: the key of the training and a record of each epoch, for a method that trains.
    generated: a picture, as PNG, of images that it has made to train on, over time.
    warnings: as of a result.
    """

    evaluation: Evaluation
    observations: Observations
    outputs: int
    coverage: Coverage | None
    cost: Cost | None
    size_mb: float
    mean_bits: float | None
    logit_mse: float | None
    mixed: dict[str, Any] | None
    training: dict[str, Any] | None
    warnings: list[str]
    generated: bytes | None = None


class _Quantized(NamedTuple):
    """The network that is evaluated, and what `Measurement` says of how it came about."""

    network: nn.Module
    size_mb: float
    cost: Cost | None = None
    coverage: Coverage | None = None
    mixed: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    generated: bytes | None = None
    made: QuantizedNetwork | None = None


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


_Made = tuple[QuantizedNetwork, float, dict[str, Any] | None]
"""A network, the size of its weights at their bits alone, and how they were chosen."""


def remake(cell: Cell, resources: Resources, clock: Clock) -> Remade:
    """Quantize the network of `cell` again, from what the caches have of it.

    cell: not of a float network.
    Raises BenchError where it was trained and the training is no longer kept.
    """
    return with_whole_images(_Phases(cell, resources, clock, fresh=False).remake)


def measure(
    cell: Cell,
    resources: Resources,
    clock: Clock,
    fresh: bool = False,
    part: Part | None = None,
) -> Measurement:
    """Measure `cell`; what it shares with other cells is in `resources`, and in the caches.

    fresh: synthesise again instead of using what an earlier cell has kept.
    part: of the evaluation set, where not all of it is evaluated now.
    """
    return with_whole_images(_Phases(cell, resources, clock, fresh, part).run)


@dataclass(frozen=True)
class _Phases:
    """The phases of one cell, each of them timed."""

    cell: Cell
    resources: Resources
    clock: Clock
    fresh: bool
    part: Part | None = None

    def run(self) -> Measurement:
        cell, runtime = self.cell, self.cell.request.config.runtime
        device = prepare_device(runtime, self.resources.gpus)
        cell.task.check(cell.listing, cell.entry.classes)
        with self.clock.phase("load"):
            loaded = self.resources.networks.get(cell.entry.name, cell.weights, device)
            network, sha256, shown = loaded
            cell.task.check(cell.listing, shown.outputs)
            limit = budget_of(cell, network)  # what cannot be met fails before any long work
            prices = search_prices(cell, network)
            blank = blank_image(cell, network)
            size = 0.0 if cell.spec.is_mixed else uniform_size_mb(network, cell.spec, blank)
            price = float_cost(network, blank) if cell.spec.is_float else None
        images, training_images = self.decode()
        quantized, source = _Quantized(network, size, price), None
        if not cell.spec.is_float:
            with self.clock.phase("synthesise") as progress:
                entry = self.entry(CALIBRATION, cell.calibration_key)
                source = calibrate(cell, network, training_images, device, entry, progress)
            batch = source.calibration.images.to(device.device)
            batch = laid_out(batch, device.memory_format)
            if isinstance(cell.method, TrainedMethod):
                quantized = self.train(
                    self.training_task(cell.method, network, batch, training_images)
                )
            elif prices is not None and training_images is not None:
                made = self.search(network, batch, training_images, prices)
                quantized = self.examine(*made, batch)
            else:
                quantized = self.examine(*self.quantize(network, batch, limit, size), batch)
        if cell.engine == ONNXRUNTIME:
            quantized = self.in_integers(quantized, images)
        with self.clock.phase("evaluate") as progress:
            resident, how = self.resources.resident, cell.weights.preprocessing
            fed = feed(images, device.device, resident)
            compile = runtime.compile if cell.engine == TORCH else False
            run = quantized.network, fed, how, device, progress, cell.task, compile
            if self.part is None:
                evaluation = evaluate(*run)
            else:
                evaluation = evaluate_part(*run, self.part, resident)
            moved = None
            if evaluation.logits is None:
                assert self.part is not None
                assert self.part.earlier is not None
                moved = self.part.earlier.logit_mse
            elif not cell.spec.is_float and not isinstance(network, FoundBoxes):
                # As many at once as memory sufficed for.
                small = replace(device, batch_size=evaluation.batch_size)
                of_float = self.resources.logits.of(network, fed, how, small)
                moved = logit_mse(evaluation.logits, of_float)
        observations = Observations(
            images=len(source.calibration.images) if source else 0,
            indices=source.indices if source else (),
            weights_sha256=sha256,
            weight_bits=quantized.mixed and quantized.mixed["bits"],
            input_bits=quantized.mixed and quantized.mixed.get("input_bits"),
            evaluated=images.listing,
            calibrated=training_images.listing if training_images else None,
        )
        warnings = [*of_behaviour(shown, evaluation.batch_size), *quantized.warnings]
        if quantized.coverage is not None:
            warnings += of_coverage(quantized.coverage, cell.spec)
        return Measurement(
            evaluation=evaluation,
            observations=observations,
            outputs=shown.outputs,
            warnings=warnings,
            coverage=quantized.coverage,
            cost=quantized.cost,
            size_mb=quantized.size_mb,
            mean_bits=mean_bits(network, quantized.size_mb),
            logit_mse=moved,
            mixed=quantized.mixed,
            training=quantized.training,
            generated=quantized.generated,
        )

    def remake(self) -> Remade:
        """Return the networks of the cell, as `run` evaluates them."""
        cell = self.cell
        device = prepare_device(cell.request.config.runtime, self.resources.gpus)
        network = self.resources.networks.get(cell.entry.name, cell.weights, device).network
        limit, prices = budget_of(cell, network), search_prices(cell, network)
        if isinstance(cell.method, TrainedMethod):
            check_kept(CacheEntry(self._caches, TRAINING, training_key(cell, cell.method)))
        images, training_images = self.decode()
        entry = self.entry(CALIBRATION, cell.calibration_key)
        if entry is not None and cell.method.image_method.cached and not entry.is_whole:
            log.warning("warning: the calibration images are no longer kept: they are made again")
        with self.clock.phase("synthesise") as progress:
            source = calibrate(cell, network, training_images, device, entry, progress)
        batch = source.calibration.images.to(device.device)
        batch = laid_out(batch, device.memory_format)
        if isinstance(cell.method, TrainedMethod):
            task = self.training_task(cell.method, network, batch, training_images)
            made = as_quantized(self.trained(task, only_kept=True).network)
        elif prices is not None and training_images is not None:
            made, _, _ = self.search(network, batch, training_images, prices)
        else:
            made, _, _ = self.quantize(network, batch, limit, 0.0)
        fuse_relus(made.network, batch[:1])
        return Remade(network, made, images, device, grids_by_channel(cell))

    def entry(self, kind: Kind, key: str) -> CacheEntry | None:
        """Return where something is kept under `key`; None where nothing kept is to be used."""
        return None if self.fresh else CacheEntry(self._caches, kind, key)

    @property
    def _caches(self) -> Path:
        return self.cell.request.config.paths.outputs / "cache"

    def decode(self) -> tuple[ImageSet, ImageSet | None]:
        """Return the evaluation set, and the training side where the method needs it."""
        cell, config = self.cell, self.cell.request.config
        cache = ImageCache(self._caches, self.resources.checked)
        with self.clock.phase("decode") as progress:

            def decoded(listing: Listing) -> ImageSet:
                how = cell.weights.preprocessing
                return decode(listing, config.data, how, cache, progress, config.runtime.workers)

            images = decoded(cell.listing)
            return images, decoded(cell.calibration) if cell.calibration else None

    def quantize(
        self, network: nn.Module, batch: Tensor, limit: Budget | None, size_mb: float
    ) -> _Made:
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
        return self.quantize_at(network, batch, bits), size_mb, mixed

    def search(
        self, network: nn.Module, batch: Tensor, training: ImageSet, prices: Prices
    ) -> _Made:
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
        return made, mixed["size_mb"], mixed

    def quantize_at(
        self, network: nn.Module, batch: Tensor, bits: ChosenBits | None
    ) -> QuantizedNetwork:
        cell = self.cell
        with self.clock.phase("quantize") as progress:
            generator = torch_generator(cell.seed, "rounding")
            entry = self.entry(GRAM, grams_key(cell, batch)) if uses_grams(cell) else None
            quantize = cell.method.quantize
            with kept_grams(entry, batch.device):
                return quantize(network, cell.spec, batch, generator, progress, bits)

    def examine(
        self, made: QuantizedNetwork, size_mb: float, mixed: dict[str, Any] | None, batch: Tensor
    ) -> _Quantized:
        """Return what is evaluated, and what there is to say of it.

        size_mb: of the weights at their bits alone.
        """
        cell = self.cell
        with self.clock.phase("quantize"):
            found = examined_post_training(made, batch[:1], latency_table(cell))
            warnings = [*made.warnings, *clipping_warnings(made, cell.spec, batch)]
            fuse_relus(made.network, batch[:1])
        size_mb += made.more_bits / MIB_BITS
        return _Quantized(made.network, size_mb, *found, mixed, warnings=tuple(warnings), made=made)

    def in_integers(self, quantized: _Quantized, images: ImageSet) -> _Quantized:
        """Return the same with the integers of the network in its place.

        Raises NotApplicable where it has none.
        """
        with self.clock.phase("export"):
            made = quantized.made or as_quantized(quantized.network)
            exported = integers_of(made, images.images.shape[-1], grids_by_channel(self.cell))
            network = IntegerNetwork(exported.model.SerializeToString())
        warnings = (*quantized.warnings, *exported.lines)
        return quantized._replace(network=network, warnings=warnings)

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

    def train(self, task: TrainingTask) -> _Quantized:
        """Return the network of a training, which other bit-widths may share."""
        done = self.trained(task)
        history = {"key": done.key, "epochs": done.history}
        found = examined(
            done.network,
            layer_weights(done.network),
            input_quantizers(done.network),
            task.images[:1],
            latency_table(task.cell),
        )
        return _Quantized(
            done.network,
            weights_size_mb(done.network),
            *found,
            mixed=learned(done.network) if task.cell.spec.is_mixed else None,
            training=history,
            warnings=tuple(done.warnings),
            generated=done.generated,
        )
