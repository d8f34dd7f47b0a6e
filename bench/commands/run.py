"""`bench run`: one cell, or with -m every combination of the listed values."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.config.compose import compose_errors, explain
from bench.config.experiments import check_one_experiment
from bench.config.files import check_user_configs, config_folder
from bench.config.grids import with_choices
from bench.config.plugins import register_methods
from bench.console import show_log
from bench.machine.children import child_environment, environment
from models.errors import BenchError


def run(args: Sequence[str]) -> int:
    """Run one command line through Hydra; return 1 when a cell failed, else 0.

    With `--dry-run` say what it would measure. Raises BenchError when the configuration does not
    compose.
    """
    dry = "--dry-run" in args
    args = _checked([arg for arg in args if arg != "--dry-run"])
    if dry:
        from bench.commands.dry_run import dry_run

        show_log()
        return dry_run(args)
    import hydra

    from bench.config.launchers import lost_by_launcher, prefer_own_defaults
    from bench.config.sweeper import prefer_grids
    from bench.measure.resources import Resources
    from bench.sweep.journal import Journal
    from bench.sweep.session import Session

    show_log()
    Journal.forget()
    register_methods(args)
    prefer_grids()
    prefer_own_defaults()
    verbose = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, to be one line
    sys.argv = ["bench run", *with_choices(args)]
    resources = Resources()
    session = Session(resources)
    main = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
    lost = None
    try:
        with resources.hosting:
            try:
                with environment(child_environment()):  # for the workers of launchers
                    main(session)()
            except Exception as error:
                lost = None if verbose else lost_by_launcher(error)
                if lost is None:
                    raise
            entries = session.finish()
    except compose_errors() as error:
        if verbose:
            raise
        raise BenchError(explain(error)) from error
    except BrokenPipeError:  # of what Hydra prints, such as its help
        raise
    except OSError as error:  # Hydra makes its folders under the outputs
        if verbose:
            raise
        raise BenchError(f"cannot write results: {error}; check paths.outputs") from error
    counts = Counter(entry.status for entry in entries)
    if len(entries) > 1:
        reasons = Counter(entry.reason for entry in entries if entry.status == "refused")
        for reason, count in reasons.items():
            if count > 1:
                logging.getLogger("bench").info("%d times: error: %s", count, reason)
        words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        logging.getLogger("bench").info("%d cells: %s", len(entries), words)
    if lost is not None:
        logging.getLogger("bench").error(
            "error: %s; finished cells are kept, run the same line again for the others", lost
        )
        return 1
    return 1 if counts["failed"] or counts["refused"] else 0


def _checked(args: Sequence[str]) -> list[str]:
    """Return `args` with the flags in front: Hydra's parser takes overrides on one side of them.

    Raises BenchError for several experiments, and for a folder of configs that is not there.
    """
    from hydra._internal.utils import get_args_parser

    typed = get_args_parser().parse_intermixed_args(args)
    if typed.config_dir is not None:
        check_user_configs(Path(typed.config_dir))
    check_one_experiment(typed.overrides)
    flags = list(args)
    for override in typed.overrides:
        flags.remove(override)
    return [*flags, *typed.overrides]
