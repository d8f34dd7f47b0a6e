"""`bench rerun`: repeat a cell from its record and compare image by image."""

from argparse import Namespace

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.experiments import outputs_of
from bench.config.schema import Config
from bench.console import say, show_log
from bench.measure.again import planned, recorded_cell
from bench.measure.clock import Clock
from bench.measure.part import Part
from bench.measure.phases import measure
from bench.measure.resources import Resources


def rerun(options: Namespace) -> int:
    """Return 0 when every image comes out as recorded, else 1. The record is not touched.

    Raises BenchError when the cell cannot be repeated here: no such record, other weights or
    images than the recorded ones.
    """
    show_log()
    store = Store(outputs_of(options.overrides))
    recorded, config = recorded_cell(store, options.id)
    say(f"{recorded.label}: recorded {recorded.of_task.in_words(vars(recorded))}")
    same, line = repeat(store, recorded, config)
    say(line)
    return 0 if same else 1


def repeat(store: Store, recorded: Result, config: Config) -> tuple[bool, str]:
    """Measure `config` again, synthesis included; say whether every image comes out as recorded."""
    resources = Resources()
    cell = planned(recorded, config, resources)
    part = None if recorded.part_of is None else Part(recorded.total)
    now = measure(cell, resources, Clock(), fresh=True, part=part).evaluation.items
    differing = cell.task.changed(now, store.items(recorded.id))
    words = cell.task.in_words(cell.task.measured(now))
    if differing == 0:
        return True, f"same: {words}, every image as recorded"
    return False, (
        f"different: {words} now; {differing} images changed "
        f"(recorded on {recorded.runtime.get('device_name')}, torch {recorded.versions['torch']})"
    )
