"""What the cells of a sweep will take, judged by earlier cells of the same kind."""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bench.cells.recipe import Recipe
from bench.cells.result import Result
from models.quantize.spec import MIXED


class Planned(NamedTuple):
    """A cell to be measured.

    name: of its kind, for people. kind: see `kind_of`. bits: of weights and activations.
    shared: the phases whose outcome is kept for other cells, each with what names that outcome, or
        with None where it is kept already.
    """

    id: str
    name: str
    kind: str
    bits: tuple[int | str, int | str]
    shared: Mapping[str, Hashable]


class Estimate(NamedTuple):
    """What the wanted cells of one kind take; seconds and bytes None where none was measured.

    cells_seconds: of all the cells, without the shared phases, which take shared_seconds.
    shared: how often each shared phase is to be run.
    peak_memory_bytes: of one cell, the most that an earlier one took.
    basis: how many earlier cells it is judged by, and on which device, in words.
    """

    name: str
    cells: int
    shared: dict[str, int]
    cells_seconds: float | None
    shared_seconds: float | None
    peak_memory_bytes: int | None
    basis: str


def kind_of(model: str, recipe: Recipe) -> str:
    """Return what cells have in common that take about equally long.

    These are the network, the method with its version and parameters, the images evaluated, the
    precision of distillation or of all products, how weights are rounded, and whether their bits
    are searched for; not the weights, the bits, the seed.

    recipe: of a result, or of a cell before it is measured (`bench.cells.recipe`).
    """
    common = {
        "model": model,
        "method": recipe.method,
        "evaluation": recipe.evaluation.fingerprint,
        "precision": recipe.calibration.synthesis_precision,
        "matrix_products": recipe.matrix_products,
        "engine": recipe.evaluation.engine,
        "rounding": recipe.quantizer.get("rounding"),
        "searched": MIXED in map(recipe.quantizer.get, ("w_bits", "a_bits")),
    }
    return json.dumps(common, sort_keys=True)


def forecast(planned: Iterable[Planned], results: Iterable[Result]) -> list[Estimate]:
    """Return an estimate for each kind among the `planned` cells, in their order.

    A cell counts once. It takes the median of the earlier cells of its kind at its bits, or at all
    bits where none has its own, with all images; the float cell it needs and the shared phases are
    left out. A shared phase that is to be run takes the longest it took in any earlier cell: that
    one ran it, the others read what it kept. Of earlier cells those count that are of the device
    which measured the kind last.
    """
    kinds: dict[str, list[Planned]] = {}
    for cell in {cell.id: cell for cell in planned}.values():
        kinds.setdefault(cell.kind, []).append(cell)
    earlier: dict[str, list[Result]] = {kind: [] for kind in kinds}
    for result in results:
        if result.status == "done":
            earlier.get(kind_of(result.model, result.recipe), []).append(result)
    return [_estimate(cells, _on_one_device(earlier[kind])) for kind, cells in kinds.items()]


def _estimate(cells: Sequence[Planned], earlier: Sequence[Result]) -> Estimate:
    name, phases = cells[0].name, list(cells[0].shared)
    keys = {phase: {cell.shared[phase] for cell in cells} - {None} for phase in phases}
    shared = {phase: len(keys[phase]) for phase in phases if keys[phase]}
    if not earlier:
        return Estimate(name, len(cells), shared, None, None, None, "no earlier cell of this kind")
    alone = [(_bits(result), _seconds_alone(result, phases)) for result in earlier]
    cells_seconds = sum(
        median([seconds for bits, seconds in alone if bits == cell.bits] or [s for _, s in alone])
        for cell in cells
    )
    shared_seconds = sum(
        count * max(result.seconds.get(phase, 0.0) for result in earlier)
        for phase, count in shared.items()
    )
    peak = max((result.peak_memory_bytes or 0 for result in earlier), default=0)
    several = "s" if len(earlier) > 1 else ""
    basis = f"{len(earlier)} earlier cell{several} on {_device(earlier[0])}"
    return Estimate(name, len(cells), shared, cells_seconds, shared_seconds, peak or None, basis)


def _seconds_alone(result: Result, phases: Iterable[str]) -> float:
    seconds = result.seconds
    alone = seconds["total"] - sum(seconds.get(phase, 0.0) for phase in ("float", *phases))
    if result.part_of is None or not result.total:
        return alone
    return alone + seconds.get("evaluate", 0.0) * (result.part_of / result.total - 1)


def _bits(result: Result) -> tuple[int | str, int | str]:
    return result.w_bits, result.a_bits


def _on_one_device(results: Sequence[Result]) -> list[Result]:
    if not results:
        return []
    device = _device(max(results, key=lambda result: result.started_at))
    return [result for result in results if _device(result) == device]


def _device(result: Result) -> str:
    return str(result.runtime.get("device_name", "an unnamed device"))
