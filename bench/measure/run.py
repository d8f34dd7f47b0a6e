"""One cell from its configuration to its record."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from bench.cells.cell import Cell, float_config, plan
from bench.cells.correctness import save_correctness
from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Busy, Store
from bench.config.schema import Config
from bench.machine.device import device_name, prepare_device
from bench.machine.memory import peak_memory_bytes, reset_peak_memory
from bench.measure.clock import Clock
from bench.measure.facts import facts_before, facts_found, portable
from bench.measure.gate import check_float, expected_top1
from bench.measure.limit import TimeLimit, Unfinished, time_limit
from bench.measure.mixed import save_mixed
from bench.measure.phases import Measurement, forget_networks, measure
from bench.plots.training import save_training
from models.errors import BenchError, NotApplicable

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What became of a cell: measured now, found measured, or in another process's hands."""

    kind: Literal["measured", "found", "busy"]
    id: str
    result: Result | None


def run_cell(config: Config, wait: bool = True) -> Outcome:
    """Measure the cell of `config`, unless its number is known, and put it in the store.

    A failure becomes a record with status "failed", and is tried again by the next run. With
    wait=False a cell that another process is measuring is left to it.

    Raises BenchError when there is no such cell (an unknown name, an impossible value), and when
    its record cannot be written.
    """
    cell = plan(config)
    store = Store(config.paths.outputs)
    if not config.force and (known := _finished(store, cell.id, config)):
        return Outcome("found", cell.id, known)
    try:
        with store.lock(cell.id, wait):
            if not config.force and (known := _finished(store, cell.id, config)):
                return Outcome("found", cell.id, known)
            return Outcome("measured", cell.id, _measure_into(store, cell, config))
    except Busy:
        return Outcome("busy", cell.id, None)
    except OSError as error:
        raise BenchError(
            f"cannot write under {store.root}: {error.strerror}; make room or change the "
            "permissions there, or give another folder with paths.outputs=DIR"
        ) from error


def known_result(config: Config) -> Result | None:
    """Return the record that `run_cell` would find, None for a cell that it would measure.

    Raises BenchError as it does.
    """
    cell = plan(config)
    return None if config.force else _finished(Store(config.paths.outputs), cell.id, config)


def _finished(store: Store, id: str, config: Config) -> Result | None:
    """Return a number that may be shown for `config`: one without images only where that may be."""
    result = store.finished(id)
    if result is None or config.data.get("skip_bad"):
        return result
    parts = (result.recipe.get(part, {}) for part in ("evaluation", "calibration"))
    return None if any(part.get("left_out") for part in parts) else result


def _measure_into(store: Store, cell: Cell, config: Config) -> Result:
    clock = Clock()
    device = prepare_device(config.runtime)
    reset_peak_memory(device)
    known: dict[str, Any] = facts_before(cell, config)
    ran: dict[str, Any] = {}
    earlier = store.finished(cell.id)
    with (
        suppress(_KeepEarlier),
        store.writing(cell.id) as folder,
        _log_file(folder / "log.txt"),
    ):

        def record(outcome: dict[str, Any]) -> Result:
            return Result(
                **{**known, **outcome},
                seconds=clock.rounded(),
                peak_memory_bytes=peak_memory_bytes(device),
                runtime=config.runtime.model_dump()
                | {"device": str(device), "device_name": device_name(device)}
                | ran,
            )

        def unfinished() -> Unfinished:
            resolved = yaml.safe_dump(portable(config))
            return Unfinished(store.root, folder, resolved, record({"status": "failed"}))

        try:
            if not cell.spec.is_float and cell.weights.locate is not None:
                with clock.phase("float"):
                    known |= _float_reference(cell, config)
            measured = _in_time(cell, config, clock, unfinished)
            ran = {
                "batch_size": measured.evaluation.batch_size,
                "compiled": measured.evaluation.compiled,
            }
            save_correctness(folder, *measured.evaluation.correctness)
            if measured.mixed is not None:
                save_mixed(folder, measured.mixed)
            if measured.training is not None:
                save_training(folder, measured.training)
            outcome = facts_found(cell, measured) | {"status": "done"}
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
        (folder / "config.yaml").write_text(yaml.safe_dump(portable(config)))
        result = write_result(folder, result)
    return result


class _KeepEarlier(Exception):
    """A failed repetition does not replace a number."""


def _in_time(
    cell: Cell, config: Config, clock: Clock, unfinished: Callable[[], Unfinished]
) -> Measurement:
    try:
        with time_limit(config.runtime.limit_s, clock, unfinished):
            return measure(cell, config, clock)
    except TimeLimit:
        forget_networks()  # it may have been in the middle of changing one
        raise


# Float cells that failed in this command: the cells of a sweep that need one fail at once.
_failed_floats: dict[tuple[Path, str], Result] = {}


def forget_failures() -> None:
    """Try float cells again that failed earlier in this process."""
    _failed_floats.clear()


def _float_reference(cell: Cell, config: Config) -> dict[str, Any]:
    wanted = float_config(config)
    key = config.paths.outputs, plan(wanted).id
    reference = _failed_floats.get(key) or run_cell(wanted).result
    if reference is None or reference.status != "done":
        why = reference.reason if reference else "no record"
        if reference is not None:
            _failed_floats[key] = reference
        raise BenchError(f"the float network could not be measured: {why}")
    check_float(reference, expected_top1(cell.weights, cell.listing), config.gate)
    return {"fp32_top1": reference.top1, "fp32_id": reference.id}


def _one_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, BenchError) else f"{type(error).__name__}: {first}"


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write everything the harness logs inside the block to a file too, debug included."""
    logger, handler = logging.getLogger("bench"), _CellLog(path)
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
