"""Calibration images: made once per model, method and seed, used by every bit-width."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import numpy_generator, torch_generator
from bench.data import ImageSet, calibration_indices
from bench.data.training import reached_for_images
from bench.files.entry import CacheEntry
from bench.files.kinds import CURVE, IMAGES, INDICES, PREVIEW
from bench.machine.device import Device
from bench.plots.images import preview
from methods.base import Calibration, Context, Progress
from models.errors import BenchError, NotApplicable
from models.preprocessing import Preparation, Preprocessing

# tf32 is a way to multiply float32.
_PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


class Source(NamedTuple):
    """Calibration images and which training images they are (none for a data-free method)."""

    calibration: Calibration
    indices: list[int]


def calibrate(
    cell: Cell,
    network: nn.Module,
    training_images: ImageSet | None,
    device: Device,
    entry: CacheEntry | None,
    progress: Progress,
) -> Source:
    """Return the calibration images of `cell`, from `entry` where a method keeps them.

    The method is that which makes the images of the cell's, `Method.image_method`.
    entry: where the images of an expensive method, its loss curve and a preview of any method's
        images are kept; None to make them again and keep nothing.

    Raises NotApplicable when the method has no meaning for the network.
    """
    method = cell.method.image_method
    if reason := cell.method.not_applicable(network) or method.not_applicable(network):
        raise NotApplicable(reason)
    takes = cell.weights.preprocessing
    if takes.medium == "text" and not method.needs_real_images:
        raise NotApplicable(
            f"method {method.name!r} makes images, and {cell.entry.name} takes texts, of which it "
            "needs real ones; give method=real"
        )
    chosen: list[int] = []

    def real_images(count: int) -> Tensor:
        if training_images is None:
            raise reached_for_images(method.name)
        generator = numpy_generator(cell.seed, "calibration")
        indices = calibration_indices(training_images.listing, count, generator)
        chosen.extend(indices.tolist())
        pixels = torch.from_numpy(np.ascontiguousarray(training_images.frames(indices)))
        return cell.weights.preprocessing.normalise(pixels)

    context = Context(
        input_shape=takes.input_shape,
        generator=lambda purpose: torch_generator(cell.seed, purpose),
        real_images=real_images,
        device=device.device,
        pixel_range=takes.pixel_range(device.device),
        memory_format=device.memory_format,
        progress=progress,
        precision=_PRECISIONS[cell.precision],
    )

    def make() -> Source:
        return Source(_checked(method.calibrate(network, context), cell), chosen)

    if entry is None:
        return make()
    cached, preprocessing = method.cached, cell.weights.preprocessing

    def read() -> Source | None:
        return entry.read(lambda: _load(entry)) if cached else None

    def make_and_keep() -> Source:
        source = make()
        _save(source, entry, preprocessing)
        if cached:
            images = {"images": source.calibration.images.contiguous()}
            entry.complete(lambda path: save_file(images, path))
        return source

    return entry.read_or_make(read, make_and_keep)


def read_curve(entry: CacheEntry) -> list[float]:
    """Return the loss curve kept in `entry`; empty when there is none that can be read."""
    try:
        return _read_list(entry.file(CURVE))
    except ValueError:
        return []


def _read_list(path: Path) -> list[Any]:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return []


def _checked(calibration: Calibration, cell: Cell) -> Calibration:
    takes = cell.weights.preprocessing
    shape, expected = calibration.images.shape[1:], takes.input_shape
    if shape != expected or calibration.images.dtype != getattr(torch, takes.input_type):
        raise BenchError(
            f"method {cell.method.name!r} returned {calibration.images.dtype} images of shape "
            f"{tuple(shape)}; {cell.entry.name} takes {takes.input_type} of shape {expected}"
        )
    if not bool(torch.isfinite(calibration.images).all()):
        raise BenchError("the calibration images are not finite; lower the method's learning rate")
    return Calibration(calibration.images.cpu(), calibration.curve)


def _load(entry: CacheEntry) -> Source:
    images = load_file(entry.file(IMAGES))["images"]
    curve, indices = (_read_list(entry.file(name)) for name in (CURVE, INDICES))
    return Source(Calibration(images, curve), indices)


def _save(source: Source, entry: CacheEntry, preprocessing: Preparation) -> None:
    """Write all but the images themselves."""
    calibration, indices = source
    if indices:
        entry.write(INDICES, json.dumps(indices))
    if calibration.curve:
        entry.write(CURVE, json.dumps(calibration.curve))
    path = entry.file(PREVIEW)
    if isinstance(preprocessing, Preprocessing) and len(calibration.images) and not path.exists():
        partial = path.with_suffix(".partial.png")
        preview(calibration.images, preprocessing).save(partial)
        partial.replace(path)
