"""Weights & Biases as a view of the result files: one finished run a cell.

A run is always written offline, after the result, and moved in place when it is whole; with an
account it is then uploaded in the background (`bench.tracking.uploads`). So a lost network or
account costs neither a result nor a run: what was not uploaded stays on disk and can be synced
later.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, PREVIEW
from bench.measure.calibration import read_curve
from bench.plots.mixed import MIXED_PLOT
from bench.plots.training import TRAINING_PLOT
from bench.tracking.artifacts import attach, quiet_service, quiet_settings
from bench.tracking.result_copy import RESULT_COPY, copy_text

log = logging.getLogger(__name__)

NOTE = "tracking"
"""Name of the note beside a result that says it has its run."""

_SUMMARY = (
    *("status", "reason", "model", "weights", "method", "variant", "data"),
    *("w_bits", "a_bits", "seed", "top1", "top5", "correct", "correct_top5", "total", "classes"),
    *("ci_low", "ci_high", "fp32_top1", "fp32_expected", "size_mb", "peak_memory_bytes"),
)
_PHASES = (
    "float",
    "load",
    "decode",
    "synthesise",
    "sensitivity",
    "train",
    "quantize",
    "evaluate",
    "total",
)


def effective_mode(mode: str) -> str:
    """Return "online", "offline" or "none": online falls back to offline without a key.

    WANDB_MODE=offline or =disabled in the environment wins, as W&B's users expect.
    """
    if mode == "none" or os.environ.get("WANDB_MODE") == "disabled":
        return "none"
    if mode == "offline" or os.environ.get("WANDB_MODE") == "offline":
        return "offline"
    quiet_service()
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"


def track(result: Result, config: Config, mode: str) -> Path | None:
    """Write the run of a cell unless it has one; return the run's folder when it is new.

    Never raises: what goes wrong is logged, and the next sweep over the cell tries again.
    """
    store = Store(config.paths.outputs)
    if mode == "none" or _is_tracked(store, result):
        return None
    try:
        # Two processes that find one cell without its run must not both write it.
        with store.lock(result.id, wait=True):
            if _is_tracked(store, result):
                return None
            run = _earlier_run(result, config) or _write_run(result, config, store)
            note = {"run": run.name, "mode": mode, "started_at": result.started_at}
            store.write_note(result.id, NOTE, note)
    except Exception as error:  # a view must not cost the number it shows
        log.warning("warning: no W&B run for %s: %s", result.id, error)
        log.debug("tracking failed", exc_info=True)
        return None
    return run


def _is_tracked(store: Store, result: Result) -> bool:
    note = store.read_note(result.id, NOTE)
    return isinstance(note, dict) and note.get("started_at") == result.started_at


def _home(config: Config) -> Path:
    return config.paths.outputs / "wandb"


def _run_id(result: Result) -> str:
    """Return the id of a measurement's run: the same for every attempt at writing it."""
    moment = "".join(character for character in result.started_at[:19] if character.isdigit())
    return f"{result.id}-{moment}"


def _earlier_run(result: Result, config: Config) -> Path | None:
    """Return the run that a process wrote before it was killed on the way to the note."""
    return next(_home(config).glob(f"*run-*-{_run_id(result)}"), None)


def _write_run(result: Result, config: Config, store: Store) -> Path:
    partial = store.scratch(result.id, "run")
    try:
        folder = _write_run_into(partial, result, config, store)
        _home(config).mkdir(parents=True, exist_ok=True)
        return folder.rename(_home(config) / folder.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_run_into(partial: Path, result: Result, config: Config, store: Store) -> Path:
    import wandb

    tracking = config.tracking
    bits = result.bits.lower().replace("/", "")
    with wandb.init(
        mode="offline",
        id=_run_id(result),
        dir=str(partial),
        project=tracking.project,
        entity=tracking.entity,
        group=result.group,
        job_type=result.method,
        name=f"{result.model}-{result.data}-{result.method}-{bits}-s{result.seed}",
        tags=sorted({*tracking.tags, result.model, result.data, result.method, bits}),
        config=run_config(result, config),
        reinit="create_new",
        settings=quiet_settings(),
    ) as run:
        if result.calibration_key is not None:
            caches = config.paths.outputs / "cache"
            _log_calibration(run, CacheEntry(caches, CALIBRATION, result.calibration_key))
        for key, name in (("mixed/bits", MIXED_PLOT), ("training/course", TRAINING_PLOT)):
            if (plot := store.folder(result.id) / name).exists():
                run.log({key: wandb.Image(str(plot))})
        attach(run, result, store)
        run.summary.update(summary(result))
        folder = Path(run.settings.sync_dir)
        if result.status == "failed":
            run.finish(exit_code=1)
    return folder


def run_config(result: Result, config: Config) -> dict[str, Any]:
    """Return the resolved configuration of the cell, its recipe and its identity."""
    resolved = config.model_dump(mode="json", exclude={"tracking", "paths", "force"})
    return {
        **resolved,
        "recipe": result.recipe.as_dict(),
        "cell_id": result.id,
        RESULT_COPY: copy_text(result),
        "weights_sha256": result.weights_sha256,
        "git_sha": result.git_sha,
        "versions": result.versions,
        "device": result.runtime,
    }


def summary(result: Result) -> dict[str, Any]:
    """Return the numbers of a cell under keys that are the same for every cell."""
    values = result.model_dump(mode="json")
    seconds = {f"seconds/{phase}": result.seconds.get(phase) for phase in _PHASES}
    return {"cell_id": result.id} | {key: values[key] for key in _SUMMARY} | seconds


def _log_calibration(run: Any, entry: CacheEntry) -> None:
    import wandb

    run.define_metric("distill/step")
    run.define_metric("distill/loss", step_metric="distill/step", summary="min")
    for step, loss in enumerate(read_curve(entry)):
        run.log({"distill/step": step, "distill/loss": loss})
    if (preview := entry.file(PREVIEW)).exists():
        run.log({"calibration/images": wandb.Image(str(preview))})
