"""`bench run`: one cell, or with -m every combination of the listed values."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from bench.commands.run_help import help_text
from bench.commands.run_line import Line, read_line
from bench.config.compose import compose_errors, explain
from bench.config.experiments import check_typed
from bench.config.files import config_folder
from bench.config.grids import with_choices
from bench.config.plugins import register_own
from bench.config.sweeper import prefer_grids
from bench.console import say, show_log
from bench.machine.children import child_environment, environment
from models.errors import BenchError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(args: Sequence[str]) -> int:
    """Run one command line through Hydra; return 1 when a cell failed, else 0.

    With `--dry-run` say what it would measure. Raises BenchError when the configuration does not
    compose.
    """
    line = read_line(args)
    if line.asks_for_help:
        say(help_text(line.overrides, line.user_configs))
        return 0
    if line.only_prints:
        say(_printed(line).rstrip("\n"))
        return 0
    # A mistake is said before PyTorch is imported.
    check_typed(line.overrides, line.multirun, line.user_configs)
    show_log()
    if line.dry:
        from bench.commands.dry_run import dry_run

        return dry_run(line)
    from bench.commands.run_end import conclusion
    from bench.config.launchers import lost_by_launcher
    from bench.measure.resources import Resources
    from bench.sweep.journal import Journal
    from bench.sweep.session import Session

    Journal.forget()
    resources = Resources()
    session = Session(resources)
    lost = None
    with _errors_in_one_line() as verbose, resources.hosting:
        try:
            with environment(child_environment()):  # for the workers of launchers
                _hydra(line, session)
        except Exception as error:
            lost = None if verbose else lost_by_launcher(error)
            if lost is None:
                raise
        entries = session.finish()
    log = logging.getLogger("bench")
    if len(entries) > 1:
        for text in conclusion(entries, line.overrides):
            log.info(text)
    if lost is not None:
        log.error(
            "error: %s; finished cells are kept, run the same line again for the others", lost
        )
        return 1
    counts = Counter(entry.status for entry in entries)
    return 1 if counts["failed"] or counts["refused"] else 0


def _hydra(line: Line, task: "Callable[[DictConfig], None]") -> None:
    """Let Hydra do what the line says, with `task` for each job."""
    import hydra

    from bench.config.launchers import prefer_own_defaults

    register_own(line.args)
    prefer_grids()
    prefer_own_defaults()
    sys.argv = ["bench run", *with_choices(line.args, line.user_configs)]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(task)()


def _printed(line: Line) -> str:
    """Return what Hydra prints for a line that runs nothing, such as one with `--cfg job`."""
    printed = StringIO()
    with _errors_in_one_line(), redirect_stdout(printed):
        _hydra(line, lambda composed: None)
    return printed.getvalue()


@contextmanager
def _errors_in_one_line() -> Iterator[bool]:
    """Make one line of what Hydra raises; yield whether all of it is asked for instead."""
    verbose = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here
    try:
        yield verbose
    except compose_errors() as error:
        if verbose:
            raise
        raise BenchError(explain(error)) from error
    except OSError as error:  # Hydra makes its folders under the outputs
        if verbose:
            raise
        raise BenchError(f"cannot write results: {error}; check paths.outputs") from error
