"""Weights & Biases as a view of the result files: one finished run a cell.

A run is always written offline, after the result, and moved in place when it is whole; with an
account it is then uploaded in the background (`bench.tracking.uploads`). So a lost network or
account costs neither a result nor a run: what was not uploaded stays on disk and can be synced
later.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.differences import beside_label
from bench.cells.recipe_label import presets, recipe_label
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, GENERATED, PREVIEW
from bench.measure.calibration import read_curve
from bench.plots.mixed import MIXED_PLOT
from bench.plots.training import TRAINING_PLOT, curve_points
from bench.tracking.artifacts import attach
from bench.tracking.offline import offline_run, warn_once
from bench.tracking.result_copy import summary, to_config
from bench.tracking.surroundings import reason

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

NOTE = "tracking"
"""Name of the note beside a result that says it has its run."""


def track(result: Result, config: Config, mode: str, words: Sequence[str] = ()) -> Path | None:
    """Write the run of a cell unless it has one; return the run's folder when it is new.

    words: those in which it differs from other cells of its sweep, such as `quant.a_range=mse`.

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
            run = _earlier_run(result, config) or _write_run(result, config, store, words)
            note = {"run": run.name, "mode": mode, "started_at": result.started_at}
            store.write_note(result.id, NOTE, note)
    except Exception as error:  # a view must not cost the number it shows
        warn_once(f"W&B runs are not written: {reason(error)}; the same line tries again")
        log.debug("no run for %s", result.id, exc_info=True)
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


def _write_run(result: Result, config: Config, store: Store, words: Sequence[str]) -> Path:
    partial = store.scratch(result.id, "run")
    try:
        folder = _write_run_into(partial, result, config, store, words)
        _home(config).mkdir(parents=True, exist_ok=True)
        return folder.rename(_home(config) / folder.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_run_into(
    partial: Path, result: Result, config: Config, store: Store, words: Sequence[str]
) -> Path:
    bits = result.bits.lower().replace("/", "")
    varying = beside_label(result, words)
    label = f"{result.model}-{result.data}-{result.method}-{bits}-s{result.seed}"
    names = {
        "id": _run_id(result),
        "name": " ".join([label, *varying]),
        "group": result.group,
        "job_type": result.method,
    }
    tags = [*config.tracking.tags, result.model, result.data, result.method, bits, *varying]
    values = to_config(result, recipe_label(result, presets()))
    with offline_run(partial, store.root, config.tracking, tags, names, values) as run:
        with _optional("distillation curve and images"):
            _log_calibration(run, result, store)
        with _optional("course of the training"):
            _log_course(run, store.folder(result.id) / "training.json")
        with _optional("course of the search"):
            _log_search(run, store.folder(result.id) / "mixed.json")
        with _optional("pictures"):
            _log_pictures(run, store.folder(result.id))
        with _optional("artifacts"):
            attach(run, result, store)
        run.summary.update(summary(result))
        folder = Path(run.settings.sync_dir)
        if result.status == "failed":
            run.finish(exit_code=1)
    return folder


@contextmanager
def _optional(what: str) -> Iterator[None]:
    """Write a run without one of its parts, where W&B does not take it or it cannot be read."""
    try:
        yield
    except Exception as error:
        warn_once(f"W&B runs are written without their {what}: {reason(error)}")
        log.debug("not in the run: %s", what, exc_info=True)


def _log_calibration(run: "wandb.Run", result: Result, store: Store) -> None:
    import wandb

    if result.calibration_key is None:
        return
    entry = CacheEntry(store.root / "cache", CALIBRATION, result.calibration_key)
    run.define_metric("distill/step")
    run.define_metric("distill/loss", step_metric="distill/step", summary="min")
    for step, loss in enumerate(read_curve(entry)):
        run.log({"distill/step": step, "distill/loss": loss})
    if (preview := entry.file(PREVIEW)).exists():
        run.log({"calibration/images": wandb.Image(str(preview))})


def _log_course(run: "wandb.Run", file: Path) -> None:
    """Log what the training of a cell says of each epoch, where it trained."""
    if not file.exists():
        return
    run.define_metric("training/epoch")
    run.define_metric("training/*", step_metric="training/epoch")
    epochs = json.loads(file.read_bytes())["epochs"]
    for epoch in epochs:
        plain = {key: value for key, value in epoch.items() if key != "curves"}
        run.log(dict(_scalars(plain, "training")))
    for name, points in curve_points(epochs).items():
        for place, value in points:
            run.log({"training/epoch": place, f"training/{name}": value})


def _log_search(run: "wandb.Run", file: Path) -> None:
    """Log reward and costs of each episode, where the bits of a cell were searched for so."""
    episodes = json.loads(file.read_bytes()).get("episodes", ()) if file.exists() else ()
    if not episodes:
        return
    run.define_metric("search/episode")
    run.define_metric("search/*", step_metric="search/episode")
    run.define_metric("search/reward", step_metric="search/episode", summary="max")
    for episode in episodes:
        run.log(dict(_scalars(episode, "search")))


def _scalars(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of an epoch under names such as `training/teachers/2/8`."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _scalars(part, f"{name}/{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _log_pictures(run: "wandb.Run", folder: Path) -> None:
    import wandb

    pictures = {
        "mixed/bits": MIXED_PLOT,
        "training/course": TRAINING_PLOT,
        "training/generated": GENERATED,
    }
    for key, name in pictures.items():
        if (picture := folder / name).exists():
            run.log({key: wandb.Image(str(picture))})
