"""Mixed precision of a cell: sensitivities kept for every budget, and what a cell shows of them."""

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.cells.request import digest
from bench.files.checksum import fits, sealed
from bench.files.entry import CacheEntry
from bench.files.whole import write_whole
from bench.plots.mixed import MIXED_PLOT, plot_mixed
from methods.base import Progress
from models.paths import expanded
from models.qat.network import LayerInUse, layers_in_use
from models.quantize.bits import mean_of
from models.quantize.budget import OF_WEIGHTS
from models.quantize.identity import weights_version
from models.quantize.latency import LatencyTable, read_latency_table
from models.quantize.mixed import Assignment, Budget, Sensitivity, assign, budget, sensitivity

log = logging.getLogger(__name__)

# Of a quantizer: what the sensitivity of a layer depends on.
_OF_WEIGHTS = ("w_scheme", "w_granularity", "w_range", "w_candidates", "fold")


def is_searched(cell: Cell) -> bool:
    """Return whether the bits of `cell` are chosen by the search and not by its method."""
    return cell.spec.is_mixed and not cell.method.chooses_bits


def budget_of(cell: Cell, network: nn.Module) -> Budget | None:
    """Return the budget of a cell whose bits the search chooses; None for another cell.

    Raises BenchError when the budget cannot be met, and when everything meets it.
    """
    if not is_searched(cell):
        return None
    return budget(network, cell.spec, blank_image(cell, network), latency_table(cell))


def latency_table(cell: Cell) -> LatencyTable | None:
    """Return the table of latencies that `cell` is given.

    Raises BenchError for one that cannot be read.
    """
    path = cell.request.config.quant.latency_table
    return None if path is None else read_latency_table(expanded(path))


def blank_image(cell: Cell, network: nn.Module) -> Tensor:
    """Return an input of one image, or text, that `network` takes."""
    return cell.weights.preprocessing.blank().to(next(network.parameters()).device)


def sensitivity_key(cell: Cell) -> str:
    """Return the key of the sensitivities that `cell` needs: of its images and weight quantizer."""
    quantizer = {key: cell.spec.as_dict()[key] for key in _OF_WEIGHTS}
    quantizer |= weights_version(cell.spec)
    return digest({"source": cell.source, "quantizer": quantizer})


def measured_sensitivity(
    cell: Cell, network: nn.Module, images: Tensor, entry: CacheEntry | None, progress: Progress
) -> Sensitivity:
    """Return the sensitivity of each layer of `network` whose bits are free, on `images`.

    entry: of `sensitivity_key`, where each layer is kept as soon as it is measured, for every
        budget and every bit-width of the activations; None to measure all and keep nothing.
    """
    if entry is None:
        return dict(sensitivity(network, cell.spec, images, {}, progress))
    with entry.locked():
        layers = entry.read(lambda: _load(entry.path)) or {}
        kept = len(layers)
        for layer, by_bits in sensitivity(network, cell.spec, images, dict(layers), progress):
            if kept and len(layers) == kept:
                log.info("  goes on after %d layers, from %s", kept, entry.path)
            layers[layer] = by_bits
            content = sealed(json.dumps({"layers": layers}))
            entry.complete(partial(Path.write_text, data=content))
    return layers


def _load(path: Path) -> dict[str, dict[int, float]]:
    """Return the layers kept in a file.

    A file of an earlier version has the layers alone, and no checksum. Raises ValueError,
    TypeError, AttributeError or LookupError for one that is damaged.
    """
    content = path.read_bytes()
    whole, layers = fits(content), json.loads(content)
    if whole:
        layers = layers["layers"]
    if whole is False or "checksum" in layers:
        raise ValueError(f"{path} does not fit its checksum")
    return {layer: {int(b): float(v) for b, v in of.items()} for layer, of in layers.items()}


def choose(
    network: nn.Module, sensitivities: Sensitivity, limit: Budget
) -> tuple[Assignment, dict[str, Any]]:
    """Return the best bits within the budget, and all there is to say of the choice, as JSON."""
    assignment = assign(network, sensitivities, limit)
    layers = [
        {"layer": name, "bits": bits, "sensitivity": sensitivities.get(name)}
        for name, bits in assignment.bits.items()
    ]
    about = {"budget": asdict(limit), **asdict(assignment), "layers": layers}
    return assignment, about if limit.name in OF_WEIGHTS else about | {"axis": limit.name}


def learned(network: nn.Module) -> dict[str, Any]:
    """Return all there is to say of the bits that a trained `network` has come to, as JSON."""
    layers = layers_in_use(network)
    return {
        "bits": {each.layer: mean_of(each.bits) for each in layers},
        "input_bits": {each.layer: each.input_bits for each in layers},
        "layers": [
            each._asdict() | {"bits": mean_of(each.bits)} | _channels(each) for each in layers
        ],
    }


def _channels(layer: LayerInUse) -> dict[str, Any]:
    return {} if isinstance(layer.bits, int | float) else {"channel_bits": list(layer.bits)}


def save_mixed(folder: Path, choice: dict[str, Any]) -> None:
    """Write `mixed.json` and its plot to the folder of a cell."""
    write_whole(folder / "mixed.json", json.dumps(choice, indent=1))
    plot_mixed(choice, folder / MIXED_PLOT)
