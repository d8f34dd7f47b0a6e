"""`bench status`: how far the cells of an experiment, or of everything, are."""

from argparse import Namespace
from collections import Counter

from bench.cell import request_id
from bench.console import say
from bench.experiments import Job, experiment_jobs, outputs_of
from bench.result import Result
from bench.store import Store


def status(arguments: Namespace) -> int:
    """Print counts by status, then what is missing or failed; always returns 0."""
    results = Store(outputs_of(arguments.overrides)).results()
    if arguments.experiment:
        jobs = experiment_jobs(arguments.experiment, arguments.overrides, arguments.config_dir)
        return _of_experiment(arguments.experiment, jobs, results)
    if not results:
        say("no cell is measured yet; `bench run -m experiment=demo` measures some")
    for group in sorted({result.group for result in results}):
        cells = [result for result in results if result.group == group]
        say(f"{group}: {_counts(Counter(cell.status for cell in cells))}")
        for cell in cells:
            what = (
                f"{cell.top1:.2f} %" if cell.status == "done" else f"{cell.status}: {cell.reason}"
            )
            say(f"  {cell.id}  {cell.label}  {what}")
    return 0


def _of_experiment(name: str, jobs: list[Job], results: list[Result]) -> int:
    by_request = {result.request_id: result for result in results}
    found = [by_request.get(request_id(job.config)) for job in jobs]
    counts = Counter(result.status if result else "missing" for result in found)
    say(f"{name}: {len(jobs)} cells: {_counts(counts)}")
    for job, result in zip(jobs, found, strict=True):
        if result is None:
            say(f"  missing  bench run {' '.join(job.overrides)}")
        elif result.status != "done":
            say(f"  {result.status}  {result.label}: {result.reason}")
    return 0


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
