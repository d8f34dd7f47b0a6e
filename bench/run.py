"""One cell from its configuration to its record."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from bench.cell import Cell, float_config, plan, request_id
from bench.config import Config
from bench.gate import check_float, expected_top1
from bench.machine import (
    device_name,
    git_sha,
    peak_memory_bytes,
    prepare_device,
    reset_peak_memory,
    versions,
)
from bench.measure import Measurement, measure
from bench.mixed import save_mixed
from bench.plots.training import save_training
from bench.progress import Clock
from bench.recipe import recipe
from bench.result import Result
from bench.stats import wilson_interval
from bench.store import Busy, Store, save_correctness
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

    Raises BenchError when there is no such cell (an unknown name, an impossible value).
    """
    cell = plan(config)
    store = Store(config.paths.outputs)
    if not config.force and (known := _finished(store, cell.id)):
        return Outcome("found", cell.id, known)
    try:
        with store.lock(cell.id, wait):
            if not config.force and (known := _finished(store, cell.id)):
                return Outcome("found", cell.id, known)
            return Outcome("measured", cell.id, _measure_into(store, cell, config))
    except Busy:
        return Outcome("busy", cell.id, None)


def _finished(store: Store, id: str) -> Result | None:
    result = store.read(id)
    return result if result is not None and result.status != "failed" else None


def _measure_into(store: Store, cell: Cell, config: Config) -> Result:
    clock = Clock()
    device = prepare_device(config.runtime)
    reset_peak_memory(device)
    known: dict[str, Any] = _known_before(cell, config)
    earlier = store.read(cell.id)
    with (
        suppress(_KeepEarlier),
        store.writing(cell.id) as folder,
        _log_file(folder / "log.txt"),
    ):
        try:
            if not cell.spec.is_float and cell.weights.locate is not None:
                with clock.phase("float"):
                    known |= _float_reference(cell, config)
            measured = measure(cell, config, clock)
            save_correctness(folder, *measured.correctness)
            if measured.mixed is not None:
                save_mixed(folder, measured.mixed)
            if measured.training is not None:
                save_training(folder, measured.training)
            outcome = _numbers(cell, measured) | {"status": "done"}
        except NotApplicable as error:
            outcome = {"status": "skipped", "reason": str(error)}
        except Exception as error:
            log.debug("the cell failed", exc_info=True)
            outcome = {
                "status": "failed",
                "reason": _one_line(error),
                "traceback": traceback.format_exc(),
            }
        result = Result(
            **{**known, **outcome},
            seconds=clock.rounded(),
            peak_memory_bytes=peak_memory_bytes(device),
            runtime=config.runtime.model_dump()
            | {"device": str(device), "device_name": device_name(device)},
        )
        if result.status == "failed" and earlier is not None and earlier.status != "failed":
            log.warning("warning: it failed this time; the earlier result of %s is kept", cell.id)
            raise _KeepEarlier
        (folder / "config.yaml").write_text(yaml.safe_dump(portable(config)))
        (folder / "result.json").write_text(result.model_dump_json(indent=1) + "\n")
    return result


class _KeepEarlier(Exception):
    """A failed repetition does not replace a number."""


def portable(config: Config) -> dict[str, Any]:
    """Return `config` with its paths absolute, so that it means the same from any folder."""
    plain = config.model_dump(mode="json")
    if plain["data"].get("root"):
        plain["data"]["root"] = str(Path(plain["data"]["root"]).expanduser().resolve())
    weights = Path(config.model.weights).expanduser()
    if weights.is_file():
        plain["model"]["weights"] = str(weights.resolve())
    return plain


def _known_before(cell: Cell, config: Config) -> dict[str, Any]:
    return {
        "id": cell.id,
        "request_id": request_id(config),
        "model": cell.entry.name,
        "weights": cell.weights.tag,
        "method": cell.method.name,
        "variant": getattr(cell.method, "variant", None),
        "data": cell.listing.name,
        "w_bits": cell.spec.w_bits,
        "a_bits": cell.spec.a_bits,
        "seed": cell.seed,
        "group": config.group,
        "fp32_expected": expected_top1(cell.weights, cell.listing),
        "weights_sha256": cell.weights.sha256,
        "recipe": recipe(cell),
        "versions": versions(),
        "git_sha": git_sha(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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


def _numbers(cell: Cell, measured: Measurement) -> dict[str, Any]:
    top1, top5 = measured.correctness
    correct, total = int(top1.sum()), len(top1)
    low, high = wilson_interval(correct, total)
    numbers = {
        "top1": 100 * correct / total,
        "top5": 100 * int(top5.sum()) / total,
        "correct": correct,
        "correct_top5": int(top5.sum()),
        "total": total,
        "classes": cell.listing.classes,
        "ci_low": low,
        "ci_high": high,
        "size_mb": measured.size_mb,
        "weights_sha256": measured.weights_sha256,
        "recipe": recipe(
            cell,
            measured.calibration_images,
            measured.indices,
            measured.weights_sha256,
            measured.mixed and measured.mixed["bits"],
        ),
    }
    if cell.spec.is_float:
        return numbers | {"fp32_top1": numbers["top1"], "fp32_id": cell.id}
    return numbers | {"calibration_key": cell.calibration_key}


def _one_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, BenchError) else f"{type(error).__name__}: {first}"


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write everything the harness logs inside the block to a file too, debug included."""
    logger, handler = logging.getLogger("bench"), logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
