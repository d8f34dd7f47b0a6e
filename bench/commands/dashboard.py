"""`bench dashboard`: all results as one HTML file that needs neither network nor account."""

import shlex
import webbrowser
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.cells.lookup import find_results
from bench.cells.request import Request, experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.experiments import DEFAULT_OUTPUTS, outputs_of, run_command
from bench.console import say, write
from bench.dashboard.document import make_document
from bench.dashboard.folders import without_folders, word_without_folders
from bench.dashboard.page import page
from bench.papers.published import load_published


def dashboard(arguments: Namespace) -> int:
    """Write the page, say where; with --open show it in a browser. Returns 0.

    Raises BenchError for an unknown experiment, and when the file cannot be written.
    """
    store = Store(outputs_of(arguments.overrides))
    inventory = store.inventory()
    results = inventory.results
    missing: list[str] = []
    if arguments.experiment:
        results, missing = _of_experiment(results, arguments)
    title = arguments.experiment or "All results"
    document = make_document(store, results, load_published())
    document["warnings"] += map(without_folders, inventory.left_out)
    document["about"] = _about(title, missing, store)
    out: Path = arguments.out or store.root / "dashboard.html"
    text = page(title, document)
    write(text, out)
    done = sum(result.status == "done" for result in results)
    say(f"wrote {out}: {done} cells, {len(text) / 2**20:.1f} MiB")
    if arguments.open and not webbrowser.open(out.resolve().as_uri()):
        say("there is no browser to show it in")
    return 0


def _about(title: str, missing: list[str], store: Store) -> dict[str, Any]:
    return {
        "title": title,
        "missing": missing,
        "outputs": _named(store.root),
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _named(outputs: Path) -> str:
    """Return the word of a command that names the folder of the results; none for the default."""
    if outputs == Path(DEFAULT_OUTPUTS):
        return ""
    return shlex.quote(word_without_folders(f"paths.outputs={outputs}"))


def _of_experiment(results: list[Result], arguments: Namespace) -> tuple[list[Result], list[str]]:
    """Return the records of an experiment's cells with their float ones, and what is missing.

    What is missing is the commands that measure it.
    """
    requests = experiment_requests(arguments.experiment, arguments.overrides, arguments.config_dir)
    cells = list(zip(requests, find_results(requests, results), strict=True))
    measured = [result for _, result in cells if result is not None]
    ids = {result.id for result in measured} | {result.fp32_id for result in measured}
    missing = [_typed(request, arguments.config_dir) for request, result in cells if result is None]
    return [result for result in results if result.id in ids], missing


def _typed(request: Request, user_configs: Path | None) -> str:
    """Return what to type for the cell of `request`, without folders of this machine."""
    overrides = [word_without_folders(override) for override in request.overrides]
    shown = None if user_configs is None else Path(word_without_folders(str(user_configs)))
    return run_command(overrides, shown)
