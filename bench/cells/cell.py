"""What one cell is, and the hash that names it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.cells.request import Request, digest
from bench.data import Listing, check_training
from bench.data.listings import Listings
from bench.data.outputs import check_medium
from bench.tasks.base import Task
from bench.tasks.registry import CLASSIFICATION, task_named
from methods.registry import make_method
from models.errors import BenchError
from models.quantize.spec import QuantSpec
from models.zoo import Weights, ZooEntry

if TYPE_CHECKING:  # what only names cells imports no torch
    from methods.base import Method

IDENTITY_VERSION = 1
"""Raised when the harness itself changes what a cell measures."""


@dataclass(frozen=True)
class Cell:
    """One measurement: model x method x quantization recipe x data x seed.

    listing: the evaluation set. calibration: the training side, for a method that needs it.
    """

    request: Request
    method: "Method"
    listing: Listing
    calibration: Listing | None

    @property
    def entry(self) -> ZooEntry:
        return self.request.entry

    @property
    def weights(self) -> Weights:
        return self.request.weights

    @property
    def spec(self) -> QuantSpec:
        return self.request.effective.quant

    @property
    def seed(self) -> int:
        return self.request.effective.seed

    @property
    def precision(self) -> str:
        """bf16 of the network while a method that heeds it makes the images, tf32 of the whole
        cell, or fp32.
        """
        return self.request.precision

    @property
    def engine(self) -> str:
        """What computes the logits; images and trainings are the same with any."""
        return self.request.effective.evaluate.engine

    @cached_property
    def source(self) -> dict[str, Any]:
        """What the number depends on but for the bits and the evaluation set."""
        return self._source(self.method, self._fingerprint)

    @property
    def _fingerprint(self) -> str | None:
        return self.calibration.fingerprint if self.calibration else None

    def _source(self, method: "Method", calibration: str | None) -> dict[str, Any]:
        return {
            **self.request.unusual_precision(),
            "version": IDENTITY_VERSION,
            **self.request.model_identity(),
            "method": method.identity(),
            "calibration": calibration,
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        return self._id(self.source, self.listing.fingerprint)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Its id, and before it the one of results from when images went by names and sizes."""
        evaluation, calibration = self.listing.earlier, None
        if self.calibration is not None:
            calibration = self.calibration.earlier
        if evaluation is None or (self.calibration is not None and calibration is None):
            return (self.id,)
        return self.id, self._id(self._source(self.method, calibration), evaluation)

    def _id(self, source: dict[str, Any], evaluation: str) -> str:
        quant = self.request.quant_identity()
        engine = self.request.unusual_engine()
        return digest(source | {"quant": quant, "evaluation": evaluation} | engine)

    @property
    def calibration_key(self) -> str:
        """Of the calibration images: methods that take them from the same one share them."""
        return digest(self._source(self.method.image_method, self._fingerprint))

    @property
    def task(self) -> Task:
        return task_named(self.entry.task)

    @property
    def expected(self) -> float | None:
        """The published headline of the float network, in percent, where these are the images that
        it is for.
        """
        published = self.weights.published
        images = (self.listing.name, len(self.listing))
        if published is None or (published.data, published.images) != images:
            return None
        return getattr(published, self.task.headline.key)

    @property
    def needs_float(self) -> bool:
        """Whether its number is shown beside that of the float network."""
        return not self.spec.is_float and self.weights.locate is not None

    def as_float(self) -> "Cell":
        """Return the cell of the float network with the same weights, on the same images.

        The same by what they contain: a number measured now is shown beside no earlier one.
        """
        request = self.request.as_float()
        images = replace(self.listing, earlier=None)
        return Cell(request, make_method(request.effective.method), images, None)


def plan(request: Request, listings: Listings) -> Cell:
    """Return the cell that is asked for; image folders are listed, and nothing is decoded.

    Raises BenchError for what does not exist.
    """
    method = make_method(request.effective.method)
    method.check(request.effective.quant)
    data, cache = request.effective.data, request.config.paths.outputs / "cache"
    cell = Cell(
        request=request,
        method=method,
        listing=listings.of(data, "eval", cache),
        calibration=listings.of(data, "train", cache) if method.sees_real_images else None,
    )
    check_medium(cell.listing, cell.weights.preprocessing)
    _check_task(cell)
    _check_training(cell)
    if request.config.evaluate.until is not None and not cell.task.in_parts:
        raise BenchError(
            f"evaluate.until={request.config.evaluate.until} is for networks that classify, and "
            f"{cell.entry.name} detects: its mAP is no mean over images; leave it null"
        )
    return cell


def _check_task(cell: Cell) -> None:
    """Raise BenchError for a method, or a rounding, without meaning for what the network does."""
    if cell.task.name not in cell.method.tasks:
        raise BenchError(
            f"method {cell.method.name!r} is not for {cell.task.name}, which {cell.entry.name} is "
            "of; methods that distil or take images are, such as gaussian, zeroq, dsg and real"
        )
    tuned = cell.spec.rounding_layer_steps or cell.spec.rounding_network_steps
    if tuned and cell.task.name != CLASSIFICATION:
        raise BenchError(
            "quant.rounding_layer_steps and quant.rounding_network_steps distil the probabilities "
            f"of classes, and {cell.entry.name} detects; give 0 for both"
        )


def _check_training(cell: Cell) -> None:
    """Raise BenchError for what cannot be trained as asked, and for a network left untrained."""
    from methods.training.base import TrainedMethod

    method = cell.method
    training = method if isinstance(method, TrainedMethod) and method.needs_real_images else None
    from_scratch = training is not None and training.init == "scratch"
    if cell.weights.locate is None and not from_scratch:
        raise BenchError(
            f"model.weights={cell.weights.tag} is an untrained network; give "
            "model.weights=FILE.safetensors, such as bench train writes, or a method that trains "
            "with method.init=scratch"
        )
    if training is not None and cell.calibration is not None:
        check_training(
            cell.calibration,
            cell.listing,
            cell.entry.classes,
            max(schedule.batch_size for schedule in training.schedules),
        )
