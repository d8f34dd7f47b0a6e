"""What Hydra calls for each job, and what is left to do when all have been called."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bench.cells.cell import Cell, plan
from bench.cells.differences import beside_label
from bench.cells.request import Request, request_of
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import read_config
from bench.console import prepare_streams, show_log
from bench.machine.children import import_last_from
from bench.measure.clock import known_as
from bench.measure.resources import Resources
from bench.measure.run import Outcome, known_result, run_cell
from bench.sweep.journal import Entry, Journal
from bench.sweep.published import with_published_drop
from bench.tasks.registry import CLASSIFICATION
from bench.tracking.runs import track
from bench.tracking.surroundings import effective_mode
from bench.tracking.uploads import Uploads
from bench.training.interrupts import end_with
from models.errors import BenchError

log = logging.getLogger(__name__)

_NOT_OF_FLOAT = ("method", "quant", "recipe", "seed")


class Session:
    """The jobs of one `bench run` that this process has done, and what they leave open.

    It is what Hydra calls for each job, and what the sweeper asks about all of them. A launcher
    hands each job to its worker with a copy of the session, which is pickled: the copy knows that
    it is one, the journal, and where the command was typed, whatever the environment of the worker.
    """

    def __init__(self, resources: Resources) -> None:
        # Relative paths are those of where the command is typed, also with hydra.job.chdir.
        self._begin(resources, in_worker=False, folder=Path.cwd())

    def __getstate__(self) -> dict[str, Any]:
        return {"journal": self._journal, "folder": Path.cwd(), "command": os.getpid()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        command = state.pop("command")
        import_last_from(state["folder"])
        # joblib's workers would finish their jobs and wait minutes for others; Slurm and Ray look
        # after their own.
        if current_process().name.startswith("Loky"):
            end_with(command)
        self._begin(_resources_of_worker(command), in_worker=True, **state)

    def _begin(
        self,
        resources: Resources,
        in_worker: bool,
        journal: Journal | None = None,
        folder: Path | None = None,
    ) -> None:
        self._resources = resources
        self._in_worker = in_worker
        self._handed = journal
        self._folder = folder
        self._deferred: list[tuple[Cell, Sequence[str]]] = []
        self._entries: list[Entry] = []
        self._jobs: Sequence[Sequence[str]] = ()
        self._uploads = Uploads()
        self._patience_seconds = 0.0
        self._modes: dict[str, str] = {}
        self._cleaned: set[Path] = set()

    def __call__(self, composed: DictConfig) -> None:
        """Run one composed job and note what became of it; only an interrupt is raised."""
        job = list(HydraConfig.get().overrides.task)
        if self._in_worker:
            prepare_streams()
            show_log()
        # A launcher's worker waits for a cell that another process is measuring. The process that
        # runs its jobs in a row goes on with the next ones first, so that two of them share.
        in_a_row = self._journal is not None and not self._in_worker
        try:
            if self._folder is not None:
                os.chdir(self._folder)  # for relative paths
            config = read_config(composed)
            self._resources.hosting.open(config.runtime)
            self._clean(config.paths.outputs)
            request = with_published_drop(request_of(config), job)
            cell = plan(request, self._resources.listings)
            with known_as(" ".join(self._varying(job))):
                outcome = run_cell(cell, self._resources, wait=not in_a_row)
        except (BenchError, OSError) as error:
            self._note(Entry("refused", _label(job), reason=str(error)))
            return
        self._take(outcome, job)

    @property
    def _journal(self) -> Journal | None:
        return self._handed or Journal.current()

    def expect(self, jobs: Sequence[Sequence[str]]) -> None:
        """Say which jobs there are, before the first of them: the overrides of each."""
        self._jobs = jobs
        if self._journal is not None:
            self._journal.expect(jobs)

    def known(self, composed: dict[str, Any], overrides: Sequence[str]) -> bool:
        """Note the cell of a job if its number is known, and return whether it is."""
        try:
            request = with_published_drop(request_of(read_config(composed)), overrides)
            cell = plan(request, self._resources.listings)
            result = known_result(cell)
        except (BenchError, OSError):
            return False  # the job itself says what is wrong
        if result is None:
            return False
        self._clean(cell.request.config.paths.outputs)
        self._take(Outcome("found", cell, result), overrides)
        return True

    def finish(self) -> list[Entry]:
        """Do the cells that were left to other processes, wait for uploads; return all entries."""
        if self._deferred:
            log.info("waiting for %d cells that another process measures", len(self._deferred))
        for cell, job in self._deferred:
            try:
                with known_as(" ".join(self._varying(job))):
                    outcome = run_cell(cell, self._resources, wait=True)
                self._take(outcome, job)
            except (BenchError, OSError) as error:
                self._note(Entry("refused", _label(job), reason=str(error)))
        journal = self._journal
        of_workers = list(_runs_of_workers(journal)) if journal else []
        if of_workers and self._mode("online") == "online":
            for run, patience_seconds in of_workers:
                self._upload(run, patience_seconds)
        if self._uploads.missing():
            log.info("uploading W&B runs")
        missing = self._uploads.finish(self._patience_seconds)
        if missing:
            log.warning(
                "warning: %d W&B runs are not uploaded, no result is lost; when the network is "
                "back: wandb sync %s/*offline-run*",
                len(missing),
                missing[0].parent,
            )
        return self._in_order(_once(journal)) if journal else self._entries

    def _in_order(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries of a sweep in the order of its jobs, where that is known."""
        place = {_label(job): place for place, job in enumerate(self._jobs)}
        return sorted(entries, key=lambda entry: place.get(entry.label, len(place)))

    def _clean(self, outputs: Path) -> None:
        """Remove what killed processes left under `outputs`, before anything is added to it."""
        if outputs not in self._cleaned:
            self._cleaned.add(outputs)
            Store(outputs).clean()

    def _take(self, outcome: Outcome, job: Sequence[str]) -> None:
        if outcome.result is None:
            self._deferred.append((outcome.cell, job))
            return
        result = outcome.result
        varying = self._varying(job)
        self._track(result, outcome.cell.request, varying)
        status = "found" if outcome.kind == "found" else result.status
        outputs = str(outcome.cell.request.config.paths.outputs.resolve())
        entry = Entry(status, _label(job), result.id, result.reason, outputs)
        self._note(entry, describe(entry, result, varying), result.warnings)

    def _varying(self, job: Sequence[str]) -> Sequence[str]:
        """Return the words in which a job differs from others of its sweep."""
        return self._journal.words(job) if self._journal else ()

    def _note(self, entry: Entry, line: str | None = None, warnings: Sequence[str] = ()) -> None:
        self._entries.append(entry)
        journal = self._journal
        if journal is not None:
            # One mistake in a sweep is one line: the summary says how often.
            is_repeated = entry.status == "refused" and journal.has_refusal(str(entry.reason))
            journal.add(entry)
            if is_repeated:
                return
        position = f"{journal.position()} " if journal else ""
        log.info("%s%s", position, line or describe(entry, None))
        for warning in warnings:
            log.warning("  warning: %s", warning)

    def _mode(self, requested: str) -> str:
        """Return what becomes of a tracking mode; say why runs stay here, in one process only."""
        if requested not in self._modes:
            self._modes[requested], why = effective_mode(requested)
            if why is not None and not self._in_worker:
                log.info("%s, runs are kept offline (see the README to sync)", why)
        return self._modes[requested]

    def _track(self, result: Result, request: Request, varying: Sequence[str]) -> None:
        config = request.config
        requested = config.tracking.mode
        mode = self._mode(requested)
        pairs = [(result, config, varying)]
        if mode != "none" and result.fp32_id not in (None, result.id):
            reference = Store(config.paths.outputs).finished(str(result.fp32_id))
            if reference is not None:
                shared = [word for word in varying if not word.startswith(_NOT_OF_FLOAT)]
                pairs.append((reference, request.as_float().config, shared))
        for one, its_config, words in pairs:
            run: Path | None = track(one, its_config, mode, words)
            if run is None or requested != "online":
                continue
            if self._in_worker and self._journal is not None:
                # A worker may go as soon as its job is done: who started the sweep uploads.
                with _runs_file(self._journal).open("a", encoding="utf-8") as file:
                    file.write(json.dumps([str(run.resolve()), config.tracking.patience_s]) + "\n")
            elif mode == "online":
                self._upload(run, config.tracking.patience_s)

    def _upload(self, run: Path, patience_seconds: float) -> None:
        self._uploads.add(run)
        self._patience_seconds = patience_seconds


@cache
def _resources_of_worker(command: int) -> Resources:
    """Return what a launcher's worker keeps while it lives: each of its jobs unpickles a session.

    command: the process that was typed.
    """
    return Resources()


def _runs_file(journal: Journal) -> Path:
    return journal.path.with_suffix(".runs")


def _runs_of_workers(journal: Journal) -> Iterator[tuple[Path, float]]:
    """Yield the W&B runs that workers have written, and how long to wait for their upload."""
    file = _runs_file(journal)
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        run, patience_seconds = json.loads(line)
        yield Path(run), patience_seconds


def _once(journal: Journal) -> list[Entry]:
    """Return the entries of a journal, one a job.

    A launcher starts a job again whose worker or node has died, and it may have been noted before:
    its last entry counts.
    """
    entries = journal.entries()
    if journal.total is None or len(entries) <= journal.total:
        return entries
    return list({entry.label: entry for entry in entries}.values())


def _label(overrides: Sequence[str]) -> str:
    return " ".join(overrides) or "the default cell"


def describe(entry: Entry, result: Result | None, varying: Iterable[str] = ()) -> str:
    """Return one line on what became of a cell.

    varying: the words in which it differs from other cells of its sweep.
    """
    if result is None:
        return f"error: {entry.reason} ({entry.label})"
    name = " ".join([result.label, *beside_label(result, varying)])
    if result.status != "done":
        return f"{name}: {result.status}: {result.reason}  {result.id}"
    how = "known" if entry.status == "found" else f"{result.seconds['total']:.1f} s"
    known, metric = result.float_headline, result.of_task.headline
    reference = "" if known is None else f"float {known:.2f} %, "
    if result.part_of is not None:
        reference += f"{result.of_task.in_words(vars(result))}, "
    title = "" if result.task == CLASSIFICATION else f"{metric.title} "
    interval = f"{title}{result.headline:.2f} % [{result.ci_low:.2f}, {result.ci_high:.2f}]"
    return f"{name}: {interval}, {reference}{how}  {result.id}"
