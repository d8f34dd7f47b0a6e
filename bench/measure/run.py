"""One cell from its configuration to its record."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from bench.cells.cell import Cell
from bench.cells.result import Result, writable
from bench.cells.result_file import Damaged, write_result
from bench.cells.store import Busy, Store
from bench.machine.device import device_name, prepare_device
from bench.machine.memory import peak_memory_bytes, reset_peak_memory
from bench.measure.clock import Clock
from bench.measure.course import save_course
from bench.measure.facts import facts_before, facts_found, float_facts, portable
from bench.measure.gate import check_float
from bench.measure.integers import check_engine
from bench.measure.limit import TimeLimit, Unfinished, time_limit
from bench.measure.mixed import save_mixed
from bench.measure.part import Earlier, Part, part_of, suffices
from bench.measure.phases import Measurement, measure
from bench.measure.resources import Resources
from bench.tasks.base import Items
from models.errors import BenchError, NotApplicable, first_line

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What became of a cell: measured now, found measured, or in another process's hands."""

    kind: Literal["measured", "found", "busy"]
    cell: Cell
    result: Result | None

    @property
    def id(self) -> str:
        return self.cell.id


def run_cell(cell: Cell, resources: Resources, wait: bool = True) -> Outcome:
    """Measure `cell`, unless its number is known, and put it in the store.

    A failure becomes a result with status "failed", and is tried again by the next run. With
    wait=False a cell that another process is measuring is left to it.

    Raises BenchError when its result cannot be written.
    """
    store = Store(cell.request.config.paths.outputs)
    if result := known_result(cell):
        return Outcome("found", cell, result)
    try:
        with store.lock(cell.id, wait):
            if result := known_result(cell):
                return Outcome("found", cell, result)
            return Outcome("measured", cell, _measure_into(store, cell, resources))
    except Busy:
        return Outcome("busy", cell, None)
    except OSError as error:
        raise BenchError(
            f"cannot write under {store.root}: {error.strerror}; make room or change the "
            "permissions there, or give another folder with paths.outputs=DIR"
        ) from error


def known_result(cell: Cell) -> Result | None:
    """Return the result that `run_cell` would find, None for a cell that it would measure.

    A number without some of the images is found only where that may be (data.skip_bad), and one of
    a part of them where no more are asked for (evaluate.until).
    """
    config = cell.request.config
    if config.force:
        return None
    store = Store(config.paths.outputs)
    result = next((found for id in cell.ids if (found := store.finished(id))), None)
    if result is not None and not suffices(result, config.evaluate):
        return None
    if result is None or config.data.get("skip_bad"):
        return result
    recipe = result.recipe
    return None if recipe.evaluation.left_out or recipe.calibration.left_out else result


def _measure_into(store: Store, cell: Cell, resources: Resources) -> Result:
    config, clock = cell.request.config, Clock()
    device = prepare_device(config.runtime, resources.gpus).device
    reset_peak_memory(device)
    facts: dict[str, Any] = facts_before(cell)
    about_float: list[str] = []
    ran: dict[str, Any] = {}
    before: Items | None = None
    earlier = store.finished(cell.id)
    seen = None if config.force or earlier is None else _seen(store, earlier)
    with (
        suppress(_KeepEarlier),
        store.writing(cell.id) as folder,
        _log_file(folder / "log.txt"),
    ):

        def record(outcome: dict[str, Any]) -> Result:
            return Result(
                **writable({**facts, **outcome}),
                seconds=clock.rounded() if seen is None else _added(clock, earlier),
                peak_memory_bytes=peak_memory_bytes(device),
                runtime=config.runtime.model_dump()
                | {"device": str(device), "device_name": device_name(device)}
                | ran,
            )

        def unfinished() -> Unfinished:
            resolved = yaml.safe_dump(portable(config))
            return Unfinished(store.root, folder, resolved, record({"status": "failed"}))

        try:
            check_engine(cell)  # before the float network is measured
            if cell.needs_float:
                with clock.phase("float"):
                    reference = _float_reference(cell, resources)
                    before = store.items(reference.id)
                facts |= float_facts(reference)
                gate = check_float(reference, cell.expected, cell.request.config.gate)
                about_float = [*reference.warnings, *gate]
            part = part_of(cell, before, seen)
            measured = _in_time(cell, resources, clock, unfinished, part)
            ran = {
                "batch_size": measured.evaluation.batch_size,
                "compiled": measured.evaluation.compiled,
            }
            cell.task.save(folder, measured.evaluation.items)
            if measured.mixed is not None:
                save_mixed(folder, measured.mixed)
            if measured.training is not None:
                save_course(folder, measured.training, measured.generated)
            outcome = facts_found(cell, measured) | {"status": "done"}
            if before is not None:
                outcome |= cell.task.against_float(before, measured.evaluation.items)
            outcome["warnings"] = [*dict.fromkeys([*about_float, *outcome["warnings"]])]
        except NotApplicable as error:
            outcome = {"status": "skipped", "reason": str(error)}
        except Exception as error:
            log.debug("the cell failed", exc_info=True)
            outcome = {
                "status": "failed",
                "reason": _one_line(error),
                "traceback": traceback.format_exc(),
            }
        result = record(outcome)
        if result.status == "failed" and earlier is not None:
            log.warning("warning: it failed this time; the earlier result of %s is kept", cell.id)
            raise _KeepEarlier
        resolved = yaml.safe_dump(portable(config))
        (folder / "config.yaml").write_text(resolved, encoding="utf-8")
        result = write_result(folder, result)
    return result


class _KeepEarlier(Exception):
    """A failed repetition does not replace a number."""


def _in_time(
    cell: Cell,
    resources: Resources,
    clock: Clock,
    unfinished: Callable[[], Unfinished],
    part: Part | None,
) -> Measurement:
    try:
        with time_limit(cell.request.config.runtime.limit_s, clock, unfinished):
            return measure(cell, resources, clock, part=part)
    except TimeLimit:
        resources.networks.forget()  # it may have been in the middle of changing one
        raise


def _seen(store: Store, earlier: Result) -> Earlier | None:
    """Return what an earlier evaluation of a part of the images has come to."""
    if earlier.status != "done" or earlier.part_of is None:
        return None
    try:
        items = store.items(earlier.id)
    except Damaged:
        return None
    return Earlier(items, earlier.recipe.evaluation.fingerprint, earlier.logit_mse)


def _added(clock: Clock, earlier: Result | None) -> dict[str, float]:
    """Return the seconds of a cell that is continued, with those of its evaluation before."""
    seconds = clock.rounded()
    before = earlier.seconds.get("evaluate", 0.0) if earlier is not None else 0.0
    if "evaluate" in seconds:
        for phase in ("evaluate", "total"):
            seconds[phase] = round(seconds[phase] + before, 4)
    return seconds


def _float_reference(cell: Cell, resources: Resources) -> Result:
    config, float_cell = cell.request.config, cell.as_float()
    key = config.paths.outputs, float_cell.id
    reference = resources.failed_floats.get(key) or run_cell(float_cell, resources).result
    if reference is None or reference.status != "done":
        why = reference.reason if reference else "no record"
        if reference is not None:
            resources.failed_floats[key] = reference
        raise BenchError(f"the float network could not be measured: {why}")
    return reference


def _one_line(error: Exception) -> str:
    line = first_line(error)
    return line if isinstance(error, BenchError) else f"{type(error).__name__}: {line}"


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write everything the harness logs inside the block to a file too, debug included."""
    logger, handler = logging.getLogger("bench"), _CellLog(path, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class _CellLog(logging.FileHandler):
    """What does not fit on a full disk is lost, and neither a result nor the terminal with it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Pass over a line that cannot be written."""
