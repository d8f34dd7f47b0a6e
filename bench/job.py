"""What Hydra calls for each job, and what is left to do when all have been called."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bench.cell import float_config, forget_listings
from bench.config import Config, read_config
from bench.result import Result
from bench.run import Outcome, forget_failures, run_cell
from bench.store import Store
from bench.sweep import Entry, Journal
from bench.tracking import Uploads, effective_mode, track
from models.errors import BenchError

log = logging.getLogger(__name__)

_UPLOAD_SECONDS = 60  # without any run being uploaded


_CHOSEN_ONE = ("model", "data", "method", "quant", "recipe")


class Session:
    """The jobs of one `bench run` that this process has done, and what they leave open."""

    def __init__(self) -> None:
        forget_listings()
        forget_failures()
        self._pid = os.getpid()
        self._deferred: list[tuple[Config, str]] = []
        self._entries: list[Entry] = []
        self._uploads = Uploads()
        self._modes: dict[str, str] = {}
        self._cleaned: set[Path] = set()

    def job(self, composed: DictConfig) -> None:
        """Run one composed job and note what became of it; only an interrupt is raised."""
        label = " ".join(HydraConfig.get().overrides.task) or "the default cell"
        journal = Journal.current()
        # A launcher's worker waits for a cell that another sweep is measuring. The process that
        # runs its jobs in a row goes on with the next ones first, so that two of them share.
        in_a_row = journal is not None and os.getpid() == self._pid
        try:
            _refuse_lists(HydraConfig.get().runtime.choices)
            config = read_config(composed)
            self._clean(config.paths.outputs)
            outcome = run_cell(config, wait=not in_a_row)
        except (BenchError, OSError) as error:
            self._note(Entry("refused", label, reason=str(error)))
            return
        self._take(outcome, config, label)

    def finish(self) -> list[Entry]:
        """Do the cells that were left to other processes, wait for uploads; return all entries."""
        if self._deferred:
            log.info("waiting for %d cells that another process measures", len(self._deferred))
        for config, label in self._deferred:
            try:
                self._take(run_cell(config, wait=True), config, label)
            except (BenchError, OSError) as error:
                self._note(Entry("refused", label, reason=str(error)))
        if self._uploads.missing():
            log.info("uploading W&B runs")
        missing = self._uploads.finish(_UPLOAD_SECONDS)
        if missing:
            log.warning(
                "warning: %d W&B runs are not uploaded, no result is lost; when the network is "
                "back: wandb sync %s/*offline-run*",
                len(missing),
                missing[0].parent,
            )
        journal = Journal.current()
        return journal.entries() if journal else self._entries

    def _clean(self, outputs: Path) -> None:
        """Remove what killed processes left under `outputs`, before anything is added to it."""
        if outputs not in self._cleaned:
            self._cleaned.add(outputs)
            Store(outputs).clean()

    def _take(self, outcome: Outcome, config: Config, label: str) -> None:
        if outcome.result is None:
            self._deferred.append((config, label))
            return
        self._track(outcome.result, config)
        result = outcome.result
        status = "found" if outcome.kind == "found" else result.status
        self._note(Entry(status, label, result.id, result.reason), result)

    def _note(self, entry: Entry, result: Result | None = None) -> None:
        self._entries.append(entry)
        journal = Journal.current()
        if journal is not None:
            journal.add(entry)
        position = f"{journal.position()} " if journal else ""
        log.info("%s%s", position, describe(entry, result))

    def _track(self, result: Result, config: Config) -> None:
        wanted = config.tracking.mode
        if wanted not in self._modes:
            self._modes[wanted] = effective_mode(wanted)
            if wanted == "online" and self._modes[wanted] == "offline":
                log.info("W&B: no key configured, runs are kept offline (see the README to sync)")
        mode = self._modes[wanted]
        pairs = [(result, config)]
        if mode != "none" and result.fp32_id not in (None, result.id):
            reference = Store(config.paths.outputs).read(str(result.fp32_id))
            if reference is not None:
                pairs.append((reference, float_config(config)))
        for one, its_config in pairs:
            run: Path | None = track(one, its_config, mode)
            if run is not None and mode == "online" and os.getpid() == self._pid:
                self._uploads.add(run)


def _refuse_lists(choices: Mapping[str, Any]) -> None:
    """Hydra merges the configs of group=[a,b] into one, and then names no choice for the group."""
    for group in _CHOSEN_ONE:
        if group not in choices:
            raise BenchError(f"{group}=[...] mixes configs; list values with -m and no brackets")


def describe(entry: Entry, result: Result | None) -> str:
    """Return one line on what became of a cell."""
    if result is None:
        return f"error: {entry.reason} ({entry.label})"
    if result.status != "done":
        return f"{result.label}: {result.status}: {result.reason}  {result.id}"
    how = "known" if entry.status == "found" else f"{result.seconds['total']:.1f} s"
    reference = "" if result.fp32_top1 is None else f"float {result.fp32_top1:.2f} %, "
    interval = f"{result.top1:.2f} % [{result.ci_low:.2f}, {result.ci_high:.2f}]"
    return f"{result.label}: {interval}, {reference}{how}  {result.id}"
