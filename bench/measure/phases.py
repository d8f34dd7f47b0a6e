"""The way of one cell: network, images, calibration, quantization, evaluation."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.recipe import Observations
from bench.config.schema import ONNXRUNTIME, TORCH
from bench.data import ImageSet, with_whole_images
from bench.data.feed import feed
from bench.machine.device import prepare_device
from bench.measure.clipping import clipping_warnings
from bench.measure.clock import Clock
from bench.measure.evaluate import Evaluation, evaluate
from bench.measure.examine import examined, examined_post_training, float_cost
from bench.measure.integers import IntegerNetwork, grids_by_channel, integers_of
from bench.measure.logits import logit_mse
from bench.measure.making import Made, Making
from bench.measure.mixed import (
    blank_image,
    budget_of,
    latency_table,
    learned,
)
from bench.measure.part import Part, evaluate_part
from bench.measure.resources import Resources
from bench.measure.search import (
    search_prices,
)
from bench.measure.warnings import of_behaviour, of_coverage
from bench.training.run import TrainingTask
from methods.training.base import TrainedMethod
from models.detection import FoundBoxes
from models.qat.network import input_quantizers, layer_weights, scales_size_mb, weights_size_mb
from models.qat.plain import as_quantized
from models.quantize.cost import Cost
from models.quantize.coverage import Coverage
from models.quantize.fuse import fuse_relus
from models.quantize.mixed import MIB_BITS, mean_bits, uniform_size_mb
from models.quantize.network import QuantizedNetwork


class Measurement(NamedTuple):
    """What a cell comes to.

    observations: what its recipe says only now.
    outputs: of the network, for an image.
    coverage: what of the network is quantized; None of a float one, and where it is not known.
    cost: None where it is not known.
    size_mb: of the quantized weights, in MiB. mean_bits: of one of them.
    scales_mb: what reading them takes beside them, in MiB: see `models.quantize.scales`.
    logit_mse: against the float network; None of a float one, and where it has no weights.
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
    scales_mb: float
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
    scales_mb: float = 0.0


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
class _Phases(Making):
    """The phases of one cell, from its network to its number."""

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
        images, training = self.decode()
        quantized, source = _Quantized(network, size, price), None
        if not cell.spec.is_float:
            source, batch = self.synthesise(network, training, device)
            if isinstance(cell.method, TrainedMethod):
                quantized = self.train(self.training_task(cell.method, network, batch, training))
            else:
                made = self.post_training(network, batch, training, limit, prices, size)
                quantized = self.examine(made, batch)
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
            # What is trained from scratch has no float network to be compared with.
            comparable = not (cell.spec.is_float or cell.weights.locate is None)
            if evaluation.logits is None:
                assert self.part is not None
                assert self.part.earlier is not None
                moved = self.part.earlier.logit_mse
            elif comparable and not isinstance(network, FoundBoxes):
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
            calibrated=training.listing if training else None,
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
            scales_mb=quantized.scales_mb,
            mean_bits=mean_bits(network, quantized.size_mb),
            logit_mse=moved,
            mixed=quantized.mixed,
            training=quantized.training,
            generated=quantized.generated,
        )

    def examine(self, quantized: Made, batch: Tensor) -> _Quantized:
        """Return what is evaluated, and what there is to say of it."""
        cell, (made, size_mb, mixed) = self.cell, quantized
        with self.clock.phase("quantize"):
            found = examined_post_training(made, batch[:1], latency_table(cell))
            warnings = [*made.warnings, *clipping_warnings(made, cell.spec, batch)]
            fuse_relus(made.network, batch[:1])
        size_mb += made.more_bits / MIB_BITS
        return _Quantized(
            made.network,
            size_mb,
            *found,
            mixed,
            warnings=tuple(warnings),
            made=made,
            scales_mb=made.scale_bits / MIB_BITS,
        )

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
            scales_mb=scales_size_mb(done.network),
        )
