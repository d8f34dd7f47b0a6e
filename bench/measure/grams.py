"""Gram matrices of the inputs of a float network, kept for all bit-widths."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.cells.cell import Cell
from bench.cells.request import digest
from bench.files.entry import CacheEntry
from bench.files.kinds import GRAMS, LAYERS
from methods.base import Method
from models.quantize.identity import effective
from models.quantize.rounding.base import Rounding
from models.quantize.rounding.known import KnownGrams, known_grams
from models.quantize.rounding.registry import make_rounding

_VERSION = 1  # raised when a change of the code changes the matrices


def grams_key(cell: Cell, images: Tensor) -> str:
    """Return the key of the Gram matrices of the network of `cell`, on the calibration `images`.

    Whatever made the images, and whatever else there is in the cell's recipe.
    """
    return digest({**on_images(cell, images), "version": _VERSION})


def on_images(cell: Cell, images: Tensor) -> dict[str, Any]:
    """Return what identifies the network of `cell`, as layers are looked at, and `images`."""
    content = images.cpu().contiguous().numpy().tobytes()
    return {
        "images": sha256(content).hexdigest(),
        "shape": list(images.shape),
        "network": cell.request.model_identity(),
        "fold": cell.spec.fold,
        "equalise": cell.spec.equalise,
    }


def uses_grams(cell: Cell) -> bool:
    """Return whether the weights of `cell` are rounded by matrices that other cells have too.

    A method with a way to quantize of its own may change the network before.
    """
    spec = effective(cell.spec)
    plain = type(cell.method).quantize is Method.quantize
    rounding = make_rounding(spec.rounding, spec.as_dict())
    return plain and isinstance(rounding, Rounding) and rounding.inputs == "float"


@contextmanager
def kept_grams(entry: CacheEntry | None, device: torch.device) -> Iterator[None]:
    """Inside, roundings use the matrices that `entry` has; afterwards it has the new ones too.

    entry: of `grams_key`; None to make all and keep nothing.
    """
    if entry is None:
        yield
        return
    with entry.locked():
        found = entry.read(lambda: load_file(entry.file(GRAMS), device=str(device)))
    known = KnownGrams(found or {})
    with known_grams(known):
        yield
    if known.grown:
        with entry.locked():
            _write(entry, {name: gram.cpu().contiguous() for name, gram in known.grams.items()})


def _write(entry: CacheEntry, grams: dict[str, Tensor]) -> None:
    shapes = {name: list(gram.shape) for name, gram in grams.items()}
    entry.write(LAYERS, json.dumps(shapes, indent=1) + "\n")
    entry.complete(lambda path: save_file(grams, path))
