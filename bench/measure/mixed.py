"""Mixed precision of a cell: sensitivities kept for every budget, and what a cell shows of them."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from bench.cells.cell import Cell, digest
from bench.files.checksum import fits, sealed
from bench.files.whole import write_whole
from bench.plots.mixed import save_mixed_plot
from methods.base import Progress
from models.quantize.mixed import Assignment, Budget, Sensitivity, assign, budget, sensitivity

log = logging.getLogger(__name__)

MIXED_PLOT = "mixed.png"

# Of a quantizer: what the sensitivity of a layer depends on.
_OF_WEIGHTS = ("w_scheme", "w_granularity", "w_range", "w_candidates", "fold")


def budget_of(cell: Cell, network: nn.Module) -> Budget | None:
    """Return the budget of a cell with mixed precision; None for another cell.

    Raises BenchError when the budget cannot be met.
    """
    if not cell.spec.is_mixed:
        return None
    return budget(network, cell.spec, blank_image(cell, network))


def blank_image(cell: Cell, network: nn.Module) -> Tensor:
    """Return a (1, C, H, W) input that `network` takes."""
    shape = cell.weights.preprocessing.input_shape
    return torch.zeros(1, *shape).to(next(network.parameters()).device)


def measured_sensitivity(
    cell: Cell, network: nn.Module, images: Tensor, cache: Path | None, progress: Progress
) -> Sensitivity:
    """Return the sensitivity of each layer of `network` whose bits are free, on `images`.

    cache: folder where each layer is kept as soon as it is measured, for every budget and every
        bit-width of the activations; None to measure all and keep nothing.
    """
    found: dict[str, dict[int, float]] = {}
    if cache is None:
        found |= sensitivity(network, cell.spec, images, found, progress)
        return found
    quantizer = {key: cell.spec.as_dict()[key] for key in _OF_WEIGHTS}
    path = cache / f"{digest({'source': cell.source, 'quantizer': quantizer})}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        found |= _kept(path)
        for layer, of_bits in sensitivity(network, cell.spec, images, dict(found), progress):
            found[layer] = of_bits
            write_whole(path, sealed(json.dumps({"layers": found})))
    return found


def _kept(path: Path) -> dict[str, dict[int, float]]:
    """Return the layers kept in a file; none where it is not there, or damaged.

    A file of an earlier version has the layers alone, and no checksum.
    """
    try:
        content = path.read_bytes()
        kept = json.loads(content)
        layers = kept["layers"] if (whole := fits(content)) else kept
        if whole is not False and "checksum" not in layers:
            return {
                layer: {int(b): float(v) for b, v in of.items()} for layer, of in layers.items()
            }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, LookupError):
        pass
    log.warning("warning: the sensitivities in %s are damaged; measured again", path)
    return {}


def choose(network: nn.Module, found: Sensitivity, given: Budget) -> tuple[Assignment, Any]:
    """Return the best bits within the budget, and all there is to say of the choice, as JSON."""
    chosen = assign(network, found, given)
    layers = [
        {"layer": name, "bits": bits, "sensitivity": found.get(name)}
        for name, bits in chosen.bits.items()
    ]
    return chosen, {"budget": asdict(given), **asdict(chosen), "layers": layers}


def save_mixed(folder: Path, said: dict[str, Any]) -> None:
    """Write `mixed.json` and its plot to the folder of a cell."""
    write_whole(folder / "mixed.json", json.dumps(said, indent=1))
    save_mixed_plot(said, folder / MIXED_PLOT)
