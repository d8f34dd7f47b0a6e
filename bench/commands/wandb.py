"""`bench wandb`: an experiment in Weights & Biases, beyond the runs of its cells."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.experiments import outputs_of
from bench.config.schema import TrackingConfig
from bench.console import put, say, write
from bench.machine.children import environment
from bench.tables.cell_rows import cell_rows
from models.errors import BenchError


def report(arguments: Namespace) -> int:
    """Save a report and a workspace, or with --dry-run write their specification; return 0.

    Raises BenchError when no cell is measured, wandb-workspaces is missing, W&B refuses, or a file
    cannot be written.
    """
    from bench.tracking.report import build_report, build_workspace, specification
    from bench.tracking.surroundings import of_account, reason

    experiment = _measured(arguments)
    name, cells, project = arguments.name, experiment.cells, experiment.tracking.project
    if arguments.dry_run:
        entity = experiment.tracking.entity or ""
        page = build_report(name, cells, project, entity)
        view = build_workspace(name, cells, project, entity)
        return _write(specification(page, view), arguments, experiment.store, "report")
    try:
        with environment(of_account()):
            entity = experiment.tracking.entity or _default_entity()
            page = build_report(name, cells, project, entity, ask=True)
            view = build_workspace(name, cells, project, entity)
            page.save()
            view.save()
    except Exception as error:  # whatever a service out of reach makes of a request
        raise BenchError(
            f"W&B took no report: {reason(error)}; --dry-run writes what would be sent"
        ) from error
    say(f"report     {page.url}\nworkspace  {view.url}")
    return 0


def artifacts(arguments: Namespace) -> int:
    """Write the run that makes the table of its cells' bitmaps, and upload it; return 0.

    With --dry-run write which run uses and makes which artifact. Without a key the run is kept
    offline.

    Raises BenchError when no cell is measured, or a file cannot be written.
    """
    from bench.tracking.artifacts import lineage, write_table_run

    experiment = _measured(arguments)
    results = [experiment.results[id] for id in experiment.cells["id"]]
    if arguments.dry_run:
        runs = lineage(arguments.name, results, experiment.store)
        return _write({"runs": runs}, arguments, experiment.store, "artifacts")
    files = _tables(arguments, experiment)
    run = write_table_run(arguments.name, results, files, experiment.tracking, experiment.store)
    from bench.tracking.surroundings import effective_mode
    from bench.tracking.uploads import Uploads

    say(f"wrote {run}")
    mode, why = effective_mode(experiment.tracking.mode)
    if why is not None:
        say(why)
    if mode == "online":
        uploads = Uploads()
        uploads.add(run)
        if not uploads.finish(experiment.tracking.patience_s):
            say("uploaded")
            return 0
    say(f"upload it with: wandb sync {run}")
    return 0


class _MeasuredExperiment(NamedTuple):
    """The measured cells of an experiment, their records, and where they are tracked."""

    cells: pd.DataFrame
    results: dict[str, Result]
    tracking: TrackingConfig
    store: Store


def _measured(arguments: Namespace) -> _MeasuredExperiment:
    store = Store(outputs_of(arguments.overrides))
    requests = experiment_requests(arguments.name, arguments.overrides, arguments.config_dir)
    results = store.results()
    cells = cell_rows(requests, results)
    cells = cells[cells["status"] == "done"]
    if cells.empty:
        raise BenchError(
            f"no cell of {arguments.name} is measured; bench run -m experiment={arguments.name}"
        )
    by_id = {result.id: result for result in results}
    return _MeasuredExperiment(cells, by_id, requests[0].config.tracking, store)


def _tables(arguments: Namespace, experiment: _MeasuredExperiment) -> list[Path]:
    from bench.papers.by_name import make_table
    from bench.tables.render import render
    from bench.tables.table import TableSource

    results = list(experiment.results.values())
    source = TableSource(results, arguments.overrides, arguments.config_dir)
    content = make_table(arguments.name, source)
    files = [experiment.store.root / "reports" / f"{arguments.name}.{to}" for to in ("md", "csv")]
    for file in files:
        write(render(content, file.suffix[1:]), file)
    return files


def _default_entity() -> str:
    import wandb

    return wandb.Api().default_entity or ""


def _write(content: dict[str, Any], arguments: Namespace, store: Store, what: str) -> int:
    file = arguments.out or store.root / "reports" / f"{arguments.name}.{what}.json"
    put(json.dumps(content, indent=1) + "\n", file)
    return 0
