"""Results from the runs of a W&B project, in place of local result files."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from bench.cells.result import Result
from bench.cells.store import Inventory
from bench.machine.children import environment
from bench.tracking.result_copy import read_copy
from bench.tracking.surroundings import of_account, reason
from models.errors import BenchError

log = logging.getLogger(__name__)

_SCHEME = "wandb:"


class Run(NamedTuple):
    """What is asked of a run: its address, its config and its summary."""

    path: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


def results_of_runs(source: str, fetch: Callable[[str], Iterable[Run]] | None = None) -> Inventory:
    """Return the results that the runs of `source`, wandb:ENTITY/PROJECT, were written for.

    Of several runs of one cell the newest counts. Runs without a whole result are warned of.
    fetch: gives the runs of ENTITY/PROJECT; by default from W&B.

    Raises BenchError for another `source`, and when W&B does not answer.
    """
    project = source.removeprefix(_SCHEME)
    if project == source or len(list(filter(None, project.split("/")))) != 2:
        raise BenchError(f"--from {source!r} is no place of runs; give {_SCHEME}ENTITY/PROJECT")
    newest: dict[str, Result] = {}
    left_out: list[str] = []
    for run in (fetch or fetch_runs)(project):
        try:
            result = read_copy(run.config, run.summary)
        except BenchError as error:
            left_out.append(f"run {run.path} {error}")
            continue
        earlier = newest.get(result.id)
        if earlier is None or earlier.started_at <= result.started_at:
            newest[result.id] = result
    for line in left_out:
        log.warning("warning: not counted: %s", line)
    return Inventory([newest[id] for id in sorted(newest)], left_out)


def fetch_runs(project: str) -> list[Run]:
    """Return every run of ENTITY/PROJECT, asking W&B.

    Raises BenchError, in one line, when W&B does not answer or has no such project.
    """
    import wandb

    try:
        with environment(of_account()):
            runs = wandb.Api().runs(project, per_page=500, lazy=False)
            return [Run("/".join(run.path), run.config, run.summary_metrics) for run in runs]
    except Exception as error:  # whatever a service out of reach makes of a request
        raise BenchError(f"W&B gives no runs of {project}: {reason(error)}") from error
