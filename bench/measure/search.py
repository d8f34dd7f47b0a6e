"""Bits that a method searches for: its labelled images, what is kept, and what a cell shows."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.request import digest
from bench.cells.seeds import numpy_generator, torch_generator
from bench.data import ImageSet, calibration_indices
from bench.files.checksum import fits, sealed
from bench.files.entry import CacheEntry
from bench.files.kinds import AGENTS, FOUND
from bench.measure.mixed import blank_image, latency_table
from bench.training.checkpoint import OnDisk
from bench.training.interrupts import HeldSignals
from methods.base import Progress
from methods.search.base import Found, Problem, SearchMethod
from methods.search.finetune import Labelled
from models.errors import BenchError
from models.preprocessing import laid_out
from models.quantize.bits import ChosenBits, mean_of
from models.quantize.layers import special_layers
from models.quantize.mixed import size_mb
from models.quantize.prices import Prices, prices_of


def search_key(cell: Cell) -> str:
    """Return the key of the bits that the method of `cell` finds: of all but evaluation images."""
    return digest({"source": cell.source, "quant": cell.request.quant_identity()})


def search_prices(cell: Cell, network: nn.Module) -> Prices | None:
    """Return the prices that the method of `cell` searches with; None for one that does not search.

    Raises BenchError where the budget cannot be met, or leaves nothing to choose.
    """
    if not isinstance(cell.method, SearchMethod):
        return None
    if cell.listing.medium == "text":
        raise BenchError(
            f"method {cell.method.name} knows no price of a table of embeddings, which "
            f"{cell.entry.name} has; quant=mixed with method=real chooses its bits"
        )
    image = blank_image(cell, network)
    prices = prices_of(network, cell.spec, image, latency_table(cell))
    cell.method.choices(cell.spec, prices, special_layers(network, cell.spec, image)).check()
    return prices


def problem_of(
    cell: Cell,
    method: SearchMethod,
    network: nn.Module,
    batch: Tensor,
    training: ImageSet,
    prices: Prices,
) -> Problem:
    """Return what `method` searches for.

    batch: calibration images, on the device. Those of the reward are others of the training side,
    and those of a fine-tuning others again. prices: of `search_prices`.
    """
    held_out, tuning = _labelled(cell, method, training, batch)
    return Problem(
        network=network,
        spec=cell.spec,
        images=batch,
        held_out=held_out,
        tuning=tuning,
        prices=prices,
        special=special_layers(network, cell.spec, blank_image(cell, network)),
        generator=torch_generator(cell.seed, "search"),
    )


def _labelled(
    cell: Cell, method: SearchMethod, training: ImageSet, batch: Tensor
) -> tuple[Labelled, Labelled]:
    counts = (len(batch), *method.labelled)
    available = len(training.listing)
    if sum(counts) > available:
        raise BenchError(
            f"method {method.name} takes {' + '.join(map(str, counts))} training images, to "
            f"calibrate, to reward and to fine-tune on, and {training.listing.name} has "
            f"{available:,}; lower method.held_out or method.finetune_images"
        )
    # The first of them are the calibration images.
    generator = numpy_generator(cell.seed, "calibration")
    indices = calibration_indices(training.listing, sum(counts), generator)
    _, held_out, tuning = np.split(indices, np.cumsum(counts)[:-1])

    def labelled(of: Any) -> Labelled:
        pixels = torch.from_numpy(np.ascontiguousarray(training.frames(of)))
        images = cell.weights.preprocessing.normalise(pixels).to(batch.device)
        labels = torch.tensor(training.labels[of], dtype=torch.int64, device=batch.device)
        return Labelled(laid_out(images, torch.channels_last), labels)

    return labelled(held_out), labelled(tuning)


def searched(
    method: SearchMethod, problem: Problem, entry: CacheEntry | None, progress: Progress
) -> Found:
    """Return what `method` finds, from `entry` where it is kept.

    entry: of `search_key`, where a search that was interrupted goes on; None to search anew and
        keep nothing.
    """
    if entry is None:
        return method.search(problem, None, progress)

    def search() -> Found:
        with HeldSignals() as interrupts:
            kept = _Interruptible(OnDisk(entry.file(AGENTS)), interrupts)
            found = method.search(problem, kept, progress)
        content = sealed(json.dumps({"bits": found.bits, "episodes": found.episodes}))
        entry.complete(partial(Path.write_text, data=content))
        entry.file(AGENTS).unlink(missing_ok=True)
        return found

    return entry.read_or_make(lambda: entry.read(lambda: _load(entry)), search)


class _Interruptible:
    """Keeps the state of a search, and lets signals come when it is kept."""

    def __init__(self, kept: OnDisk, interrupts: HeldSignals) -> None:
        self._kept, self._interrupts = kept, interrupts

    def load(self) -> dict[str, Any] | None:
        return self._kept.load()

    def save(self, state: dict[str, Any]) -> None:
        self._kept.save(state)
        self._interrupts.deliver()


def _load(entry: CacheEntry) -> Found:
    content = entry.file(FOUND)
    text = content.read_bytes()
    if not fits(text):
        raise ValueError(f"{content} does not fit its checksum")
    said = json.loads(text)
    weights, inputs = said["bits"]
    bits = {name: tuple(b) if isinstance(b, list) else b for name, b in weights.items()}
    return Found(ChosenBits(bits, inputs), said["episodes"])


def about_search(found: Found, problem: Problem) -> dict[str, Any]:
    """Return all there is to say of the bits that were found, as JSON: `mixed.json`."""
    weights, inputs = found.bits
    read = problem.prices.inputs_of_layers(inputs) if inputs else {}
    layers = [_layer(name, bits, read.get(name)) for name, bits in weights.items()]
    return {
        "budget": dict(problem.spec.limits),
        "bits": {name: mean_of(bits) for name, bits in weights.items()},
        "input_bits": dict(inputs),
        "size_mb": size_mb(problem.network, weights),
        "layers": layers,
        "episodes": found.episodes,
    }


def _layer(name: str, bits: Any, input_bits: int | float | None) -> dict[str, Any]:
    about = {"layer": name, "bits": mean_of(bits), "sensitivity": None}
    about |= {} if input_bits is None else {"input_bits": input_bits}
    return about | ({"channel_bits": list(bits)} if isinstance(bits, Sequence) else {})
