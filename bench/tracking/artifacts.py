"""Artifacts in Weights & Biases: what was made of what.

calibration images -> the run of a cell -> its correctness bitmap -> the run of a table -> the table

Everything is written offline and uploaded by `wandb sync`. An artifact of the same content is one
version there, however many runs write it, so each run writes what it uses itself.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import TrackingConfig
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION
from bench.tracking.offline import fitting, offline_run

if TYPE_CHECKING:
    import wandb


class ArtifactFiles(NamedTuple):
    """An artifact before W&B knows it: where its files lie, and what a reader should know."""

    name: str
    kind: str
    files: list[Path]
    metadata: dict[str, Any]


def calibration(result: Result, store: Store) -> ArtifactFiles | None:
    """Return the calibration images of a cell, shared by all its bit-widths; None without any.

    Images of a cheap method are not kept: then it is their preview, and which photos they are.
    """
    if result.calibration_key is None:
        return None
    files = CacheEntry(store.root / "cache", CALIBRATION, result.calibration_key).existing_files()
    keys = ("model", "weights", "weights_sha256", "method", "variant", "seed")
    metadata = {key: getattr(result, key) for key in keys} | {"recipe": result.recipe.method}
    name = f"calibration-{result.calibration_key}"
    return ArtifactFiles(name, "calibration-images", files, metadata)


def correctness(result: Result, store: Store) -> ArtifactFiles | None:
    """Return which images a cell has right, with its result; None for a cell without a number."""
    folder = store.folder(result.id)
    files = [folder / name for name in (result.of_task.file, "result.json")]
    if not all(file.exists() for file in files):
        return None
    fingerprint = result.recipe.evaluation.fingerprint
    metadata = {
        "cell": result.label,
        result.of_task.headline.key: result.headline,
        "fingerprint": fingerprint,
    }
    return ArtifactFiles(f"correct-{result.id}", "correctness", files, metadata)


def attach(run: "wandb.Run", result: Result, store: Store) -> None:
    """Let the run of a cell use its calibration images and make its correctness bitmap."""
    if images := calibration(result, store):
        _use(run, images)
    if bitmap := correctness(result, store):
        run.log_artifact(_artifact(bitmap))


def lineage(name: str, results: Sequence[Result], store: Store) -> list[dict[str, Any]]:
    """Return what `attach` and `write_table_run` say, one entry a run, without writing it."""
    runs: list[dict[str, Any]] = []
    for result in results:
        uses, makes = calibration(result, store), correctness(result, store)
        runs.append({"run": result.label, "uses": _names(uses), "makes": _names(makes)})
    bitmaps = [artifact for run in runs for artifact in run["makes"]]
    return [*runs, {"run": f"table {name}", "uses": bitmaps, "makes": [table_name(name)]}]


def write_table_run(
    name: str,
    results: Sequence[Result],
    files: Sequence[Path],
    tracking: TrackingConfig,
    store: Store,
) -> Path:
    """Write, offline, the run that makes a table of its cells' bitmaps; return the run's folder.

    files: the table, in one or more formats.
    """
    home, key = store.root / "wandb", table_name(name)
    artifact = ArtifactFiles(key, "table", list(files), {"cells": len(results)})
    names = {"name": key, "group": name, "job_type": "table"}
    with store.lock(key, wait=True):
        partial = store.scratch(key, "run")
        try:
            tags = (*tracking.tags, "table")
            with offline_run(partial, store.root, tracking, tags, names) as run:
                for result in results:
                    if bitmap := correctness(result, store):
                        _use(run, bitmap)
                run.log_artifact(_artifact(artifact))
                folder = Path(run.settings.sync_dir)
            home.mkdir(parents=True, exist_ok=True)
            return folder.rename(home / folder.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def table_name(name: str) -> str:
    """Return what the table of an experiment is called: an artifact has no slash in its name."""
    return fitting("name", f"table-{name.replace('/', '-')}")


def _names(artifact: ArtifactFiles | None) -> list[str]:
    return [artifact.name] if artifact else []


def _artifact(content: ArtifactFiles) -> "wandb.Artifact":
    import wandb

    artifact = wandb.Artifact(content.name, content.kind, metadata=content.metadata)
    for file in content.files:
        # Not copied: a file stays where it is until the run is uploaded.
        artifact.add_file(str(file.resolve()), policy="immutable")
    return artifact


def _use(run: "wandb.Run", artifact: ArtifactFiles) -> None:
    # What `run.use_artifact` does with a new artifact; it refuses offline, though `wandb sync`
    # uploads the artifact and notes the use.
    run._log_artifact(_artifact(artifact), is_user_created=True, use_after_commit=True)
