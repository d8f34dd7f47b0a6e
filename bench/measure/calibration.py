"""Calibration images: made once per model, method and seed, used by every bit-width."""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.seeds import numpy_generator, torch_generator
from bench.data import ImageSet, calibration_indices
from bench.files.checksum import CHECKSUMS, checksums, folder_fits
from bench.files.whole import write_whole
from bench.machine.device import Device
from methods.base import Calibration, Context, Progress
from models.errors import BenchError, NotApplicable
from models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

_PREVIEW_IMAGES = 16
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
    folder: Path,
    fresh: bool,
    progress: Progress,
) -> Source:
    """Return the calibration images of `cell`, from `folder` where a method keeps them.

    folder: where the images of an expensive method, its loss curve and a preview of any method's
        images are kept. fresh: make them again and leave the folder alone.

    Raises NotApplicable when the method has no meaning for the network.
    """
    if reason := cell.method.not_applicable(network):
        raise NotApplicable(reason)
    chosen: list[int] = []

    def real_images(count: int) -> Tensor:
        if training_images is None:
            raise BenchError(
                f"method {cell.method.name!r} reached for training images; a method that uses "
                "them must declare needs_real_images"
            )
        generator = numpy_generator(cell.seed, "calibration")
        indices = calibration_indices(training_images.listing, count, generator)
        chosen.extend(indices.tolist())
        pixels = torch.from_numpy(np.ascontiguousarray(training_images.pixels(indices)))
        return cell.weights.preprocessing.normalise(pixels)

    context = Context(
        input_shape=cell.weights.preprocessing.input_shape,
        generator=lambda purpose: torch_generator(cell.seed, purpose),
        real_images=real_images,
        device=device.device,
        memory_format=device.memory_format,
        progress=progress,
        precision=_PRECISIONS[cell.precision],
    )

    def make() -> Source:
        return Source(_checked(cell.method.calibrate(network, context), cell), chosen)

    if fresh:
        return make()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        kept = _read(folder) if cell.method.cached else None
        if kept is not None:
            return kept
        source = make()
        _keep(source, folder, cell.method.cached, cell.weights.preprocessing)
    return source


def read_curve(folder: Path) -> list[float]:
    """Return the loss curve kept in `folder`; empty when there is none that can be read."""
    try:
        return _read_list(folder / "curve.json")
    except ValueError:
        return []


def _read_list(path: Path) -> list[Any]:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return []


def _checked(calibration: Calibration, cell: Cell) -> Calibration:
    shape, wanted = calibration.images.shape[1:], cell.weights.preprocessing.input_shape
    if shape != wanted or calibration.images.dtype != torch.float32:
        raise BenchError(
            f"method {cell.method.name!r} returned {calibration.images.dtype} images of shape "
            f"{tuple(shape)}; {cell.entry.name} takes float32 of shape {wanted}"
        )
    if not bool(torch.isfinite(calibration.images).all()):
        raise BenchError("the calibration images are not finite; lower the method's learning rate")
    return Calibration(calibration.images.cpu(), calibration.curve)


def _read(folder: Path) -> Source | None:
    """Return what is kept in `folder`; None where nothing is, or where it is damaged."""
    path = folder / "images.safetensors"
    if not path.exists():
        return None
    try:
        if folder_fits(folder):
            kept = Calibration(load_file(path)["images"], _read_list(folder / "curve.json"))
            return Source(kept, _read_list(folder / "indices.json"))
    except (SafetensorError, OSError, ValueError, LookupError):
        pass
    log.warning("warning: the calibration images in %s are damaged; made again", folder)
    for name in (path.name, "curve.json", "indices.json", "preview.png", CHECKSUMS):
        (folder / name).unlink(missing_ok=True)
    return None


def _keep(source: Source, folder: Path, images: bool, how: Preprocessing) -> None:
    calibration, indices = source
    # The images come last: where they are, everything is.
    for leftover in folder.glob(".*.json.*"):  # of a process that was killed
        leftover.unlink(missing_ok=True)
    if indices:
        write_whole(folder / "indices.json", json.dumps(indices))
    if calibration.curve:
        write_whole(folder / "curve.json", json.dumps(calibration.curve))
    if len(calibration.images) and not (folder / "preview.png").exists():
        partial = folder / "preview.partial.png"
        preview(calibration.images, how).save(partial)
        partial.replace(folder / "preview.png")
    if images:
        partial = folder / "images.partial"
        save_file({"images": calibration.images.contiguous()}, partial)
        files = {name: folder / name for name in ("curve.json", "indices.json")}
        there = {name: path for name, path in files.items() if path.exists()}
        said = checksums({"images.safetensors": partial, **there})
        write_whole(folder / CHECKSUMS, said)
        partial.replace(folder / "images.safetensors")


def preview(images: Tensor, preprocessing: Preprocessing) -> Image.Image:
    """Return a grid of the first 16 of `images` (N, 3, H, W), with the normalisation undone.

    What lies outside the range of pixels is clipped.
    """
    shown = images[:_PREVIEW_IMAGES]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    pixels = ((shown * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    columns = min(4, len(pixels))
    rows = -(-len(pixels) // columns)
    blank = pixels.new_zeros(rows * columns - len(pixels), *pixels.shape[1:])
    grid = torch.cat([pixels, blank]).unflatten(0, (rows, columns))
    grid = grid.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return Image.fromarray(grid.numpy())
