"""What all tools are given: the network, the images, and the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.cells.cell import Cell, plan
from bench.cells.request import request_of
from bench.config.compose import compose
from bench.config.schema import Config, read_config
from bench.data import ImageSet, with_whole_images
from bench.machine.device import Device, prepare_device
from bench.measure.clock import Clock
from bench.measure.making import Making
from bench.measure.resources import Resources
from bench.peers.rows import Conditions
from bench.speed.report import machine as times_depend_on
from bench.tasks.classification import Classification
from methods.training.base import TrainedMethod
from models.errors import BenchError
from models.preprocessing import Preparation
from models.traceable import traceable_copy

_OURS = ("quant", "recipe", "experiment", "hydra", "evaluate", "qat", "schedule")


@dataclass(frozen=True)
class Place:
    """What a tool is measured on.

    network: of plain layers, see `models.traceable`. calibration: (N, C, H, W) normalised, on the
    device. images: to evaluate.
    """

    cell: Cell
    conditions: Conditions
    network: nn.Module
    calibration: Tensor
    images: ImageSet
    preprocessing: Preparation
    device: Device
    resources: Resources


def configuration(overrides: Sequence[str]) -> Config:
    """Return what `overrides` compose to; calibration images are real ones if they do not say.

    Raises BenchError for overrides of what `bench peers` decides itself.
    """
    for word in overrides:
        if word.partition("=")[0].partition(".")[0].lstrip("+~") in _OURS:
            raise BenchError(
                f"bench peers takes no {word!r}: every tool has its own quantizer, and --bits says "
                "the bits; give model, data, method, seed, runtime or paths"
            )
    said = any(word.startswith("method=") for word in overrides)
    return read_config(compose(overrides if said else ["method=real", *overrides]))


def planned(config: Config, resources: Resources) -> Cell:
    """Return the cell whose network and images the tools get; nothing is decoded.

    Raises BenchError for a network that does not classify, and for a method without images.
    """
    cell = plan(request_of(config), resources.listings)
    if not isinstance(cell.task, Classification):
        raise BenchError(f"bench peers is for networks that classify; {cell.entry.name} does not")
    if cell.method.name == "float" or isinstance(cell.method, TrainedMethod):
        raise BenchError(
            f"method={cell.method.name} makes no calibration images for others; give method=real "
            "or a method that distils"
        )
    return cell


def conditions_of(cell: Cell) -> Conditions:
    return Conditions(
        network=cell.entry.name,
        data=cell.listing.name,
        images=len(cell.listing),
        evaluation=cell.listing.fingerprint[:16],
        calibration_images=cell.method.image_method.images,
        calibration=cell.calibration_key,
        seed=cell.seed,
    )


def prepare(config: Config, resources: Resources) -> Place:
    """Return what tools are measured on; images are decoded and synthesised, or found kept.

    Raises BenchError as `planned`, and where the network cannot be had.
    """
    cell = planned(config, resources)
    device = prepare_device(config.runtime, resources.gpus)
    loaded = resources.networks.get(cell.entry.name, cell.weights, device)
    cell.task.check(cell.listing, loaded.behaviour.outputs)
    making = Making(cell, resources, Clock(), fresh=False)

    def made() -> tuple[ImageSet, Tensor]:
        images, training = making.decode()
        return images, making.synthesise(loaded.network, training, device)[1]

    images, batch = with_whole_images(made)
    network = traceable_copy(loaded.network, batch[:1])
    how = cell.weights.preprocessing
    return Place(cell, conditions_of(cell), network, batch, images, how, device, resources)


def machine(device: Device) -> dict[str, object]:
    """Return what times depend on, as a row has it."""
    where = times_depend_on(device.device)
    return {
        "device": where["device"],
        "threads": where["threads"],
        "load_average": where["load_average"],
        "torch": torch.__version__.partition("+")[0],
    }
