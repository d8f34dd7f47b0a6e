"""`bench export` and `bench verify`: a cell as a file of integers, and what these compute."""

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.result import Result
from bench.cells.store import INTEGER, Store
from bench.config.experiments import outputs_of
from bench.console import say, show_log
from bench.files.whole import write_whole
from bench.measure.again import planned, recorded_cell
from models.errors import BenchError, NotApplicable
from models.export.packages import check_packages

if TYPE_CHECKING:  # what is asked for what cannot be had imports no torch
    from bench.cells.cell import Cell
    from bench.export.cell import Model
    from bench.measure.remake import Remade


def export(options: Namespace) -> int:
    """Write the network of a cell as ONNX and its card as JSON; with --verify, check it. Return 0.

    Raises BenchError for a cell that cannot be made again, or has no integers, and for a file that
    is there already or has no folder.
    """
    show_log()
    path = _checked(options.out)
    cell = _Cell(options)
    write_whole(path, cell.model.content)
    written = json.dumps(cell.card(), indent=1) + "\n"
    write_whole(_beside(path), written)
    say(f"{cell.recorded.label}: {path}, {len(cell.model.content) / 2**20:.2f} MiB")
    cell.say_lines()
    if options.verify:
        cell.verify(options.exact, options.images)
    return 0


def verify(options: Namespace) -> int:
    """Run the integers of a cell on its images, print and keep what came of it; return 0.

    Raises BenchError as `export` does.
    """
    show_log()
    cell = _Cell(options)
    say(cell.recorded.label)
    cell.say_lines()
    cell.verify(options.exact, options.images)
    return 0


class _Cell:
    """A finished cell, made again, and its model."""

    def __init__(self, options: Namespace) -> None:
        check_packages()
        if options.images is not None and options.images < 1:
            raise BenchError(f"--images {options.images}: give 1 or more")
        self.store = Store(outputs_of(options.overrides))
        self.recorded, config = recorded_cell(self.store, options.id)
        from bench.export.cell import model_of
        from bench.measure.clock import Clock
        from bench.measure.integers import check_representable
        from bench.measure.remake import remake
        from bench.measure.resources import Resources

        self.resources: Resources = Resources()
        self.cell: Cell = planned(self.recorded, config, self.resources)
        self.clock = Clock()
        try:
            check_representable(self.cell)
            self.remade: Remade = remake(self.cell, self.resources, self.clock)
            self.model: Model = model_of(self.remade)
        except NotApplicable as error:
            raise BenchError(str(error)) from error

    def card(self) -> dict[str, Any]:
        from bench.export.cell import card

        return card(self.recorded, self.model, self.cell.weights.preprocessing.as_dict())

    def say_lines(self) -> None:
        exported = self.model.exported
        say(f"{exported.integer} of {exported.layers} layers have integer weights and inputs")
        for line in exported.lines:
            say(line)

    def verify(self, exact: bool, images: int | None) -> None:
        from bench.export.verify import compared, note
        from models.export.export import export_float
        from models.export.runtime import Session

        shape = self.remade.images.images.shape[1:]
        image = next(self.remade.network.parameters()).new_zeros((1, *shape))
        floating = Session(export_float(self.remade.network, image).SerializeToString())
        integer = Session(self.model.content, exact)
        how = self.cell.weights.preprocessing
        with self.clock.phase("verify") as progress:
            found = compared(self.remade, integer, floating, how, self.resources, progress, images)
        kept = note(found, integer, self.model.sha256, exact)
        with self.store.lock(self.recorded.id, wait=True):
            self.store.write_note(self.recorded.id, INTEGER, kept)
        _say(kept, self.recorded)


def _say(kept: dict[str, Any], recorded: Result) -> None:
    say(
        f"top-1 in integers {kept['top1_integer']:.2f} %, in fake quantization "
        f"{kept['top1_fake']:.2f} %: {kept['points']:+.2f} points, "
        f"95 % interval {kept['low']:+.2f} to {kept['high']:+.2f}"
    )
    if kept["total"] == recorded.total and kept["top1_fake"] != recorded.top1:
        say(f"the record has {recorded.top1:.2f} %, of batches of another size or compiled")
    say(
        f"predictions agree on {kept['agreement']:.2f} % of {kept['total']} images; largest "
        f"difference of a logit {kept['largest_logit_difference']:.3g}, where logits spread by "
        f"{kept['logit_spread']:.3g}"
    )
    on_integers = f"{kept['integer_layers']} of {kept['layers']} layers run on integers"
    if kept["speedup"] is None:
        say(f"{on_integers}; too few images to take the time of {kept['batch_size']} at once")
        return
    say(
        f"{on_integers}: {kept['speedup']:.2f} times as fast as float "
        f"({kept['integer_ms']:.2f} ms an image, float {kept['float_ms']:.2f} ms; "
        f"{kept['batch_size']} at once, one thread)"
    )


def _checked(path: Path) -> Path:
    if path.suffix != ".onnx":
        raise BenchError(f"--out {path}: give a file that ends in .onnx")
    if not path.parent.is_dir():
        raise BenchError(f"--out {path}: there is no folder {path.parent}; make it first")
    for each in (path, _beside(path)):
        if each.exists():
            raise BenchError(f"--out {path}: {each} is there already; remove it, or name another")
    return path


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")
