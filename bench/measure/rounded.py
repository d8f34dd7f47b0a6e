"""Weights that a rounding has learned, kept for cells that differ in their activations only."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.cells.cell import Cell
from bench.cells.request import digest
from bench.files.entry import CacheEntry
from bench.files.kinds import ABOUT, LEARNED
from bench.measure.clock import Clock
from bench.measure.grams import on_images
from methods.base import Method
from models.quantize.bits import ChosenBits
from models.quantize.identity import effective, identity
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.once import Learned, is_learned, learned_by
from models.quantize.rounding.registry import make_rounding
from models.quantize.spec import FLOAT_BITS

_VERSION = 1  # raised when a change of the code, but for that of a rounding, changes the weights


# Of a quantizer: what `quantize` does to a network whose weights are learned. Without data bias
# correction draws before.
_AFTERWARDS = (("bias_correction", "empirical"), ("reestimate_batchnorm", True))


def keeps_weights(cell: Cell) -> bool:
    """Return whether the weights of `cell` take long to learn, and depend on what the key says.

    A method with a way to quantize of its own may change the network before.
    """
    spec = effective(cell.spec)
    plain = type(cell.method).quantize is Method.quantize
    return plain and is_learned(make_rounding(spec.rounding, spec.as_dict()))


def weights_key(cell: Cell, images: Tensor, bits: ChosenBits | None) -> str:
    """Return the key of the learned weights of `cell`, on the calibration `images`.

    bits: that are chosen layer by layer. What is done to activations is left out, unless the
    rounding quantizes them while it learns, and so is what is done once weights are learned.
    """
    spec = effective(cell.spec)
    rounding = make_rounding(spec.rounding, spec.as_dict())
    chosen: dict[str, Any] = {} if bits is None else {"weights": dict(bits.weights)}
    quantizer = identity(spec.with_inputs_at(FLOAT_BITS))
    if isinstance(rounding, BlockRounding) and rounding.joint:
        quantizer = cell.request.quant_identity()
        chosen |= {} if bits is None else {"inputs": dict(bits.inputs)}
    about = {
        **on_images(cell, images),
        "quantizer": {k: v for k, v in quantizer.items() if (k, v) not in _AFTERWARDS},
        "chosen": chosen,
        "seed": cell.seed,
        "precision": cell.precision,
        "version": _VERSION,
    }
    return digest(about)


@contextmanager
def kept_weights(entry: CacheEntry | None, device: torch.device, clock: Clock) -> Iterator[None]:
    """Inside, weights that are learned are taken from `entry`, or kept there.

    The seconds that learning them took are counted in the current phase of `clock`. Who asks for
    weights that another process learns waits for them.

    entry: of `weights_key`; None to learn them and keep nothing.
    """
    if entry is None:
        yield
        return

    def keeper(learn: Callable[[], Learned]) -> Learned:
        start = time.perf_counter()

        def read() -> Learned | None:
            found = entry.read(lambda: _load(entry, device))
            if found is None:
                return None
            learned, seconds = found
            clock.add_found(max(0.0, seconds - (time.perf_counter() - start)))
            return learned

        def make() -> Learned:
            begin = time.perf_counter()
            learned = learn()
            _write(entry, learned, time.perf_counter() - begin)
            return learned

        return entry.read_or_make(read, make)

    with learned_by(keeper):
        yield


def _load(entry: CacheEntry, device: torch.device) -> tuple[Learned, float]:
    about = json.loads(entry.file(ABOUT).read_text(encoding="utf-8"))
    layers = {name: (size, str(warning)) for name, (size, warning) in about["layers"].items()}
    tensors = load_file(entry.file(LEARNED), device=str(device))
    return Learned(tensors, layers), float(about["seconds"])


def _write(entry: CacheEntry, learned: Learned, seconds: float) -> None:
    about = {"seconds": round(seconds, 4), "layers": learned.layers}
    entry.write(ABOUT, json.dumps(about, indent=1) + "\n")
    # Safetensors refuses two names for one memory, as layers have that share a weight.
    own = {
        name: value.cpu().clone(memory_format=torch.contiguous_format)
        for name, value in learned.tensors.items()
    }
    entry.complete(lambda path: save_file(own, path))
