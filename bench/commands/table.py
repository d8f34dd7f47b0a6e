"""`bench table`: the numbers of a paper or of an experiment as a table."""

from argparse import Namespace

from bench.cells.store import Found, Store
from bench.config.experiments import outputs_of
from bench.console import put
from bench.papers.table import make_table
from bench.tables.render import render
from bench.tables.table import Table


def table(arguments: Namespace) -> int:
    """Print or write the table, or with --missing the commands for what is not run; return 0.

    Raises BenchError for an unknown table, for W&B runs that cannot be read, and for a file that
    cannot be written.
    """
    found = results_of(arguments)
    made = make_table(arguments.name, arguments.overrides, found.results, arguments.config_dir)
    if not arguments.missing:
        return show(made, found, arguments)
    put("".join(f"{command}\n" for command in made.missing), arguments.out)
    return 0


def results_of(arguments: Namespace) -> Found:
    """Return what a table or the ledger is made of: the local result files, or W&B runs."""
    if arguments.source is None:
        return Store(outputs_of(arguments.overrides)).found()
    from bench.tracking.fetch import results_of_runs

    return results_of_runs(arguments.source)


def show(made: Table, found: Found, arguments: Namespace) -> int:
    """Print a table in the asked format, or write it; return 0.

    Raises BenchError for a file that cannot be written.
    """
    uncounted = found.note()
    notes = made.notes if uncounted is None else [*made.notes, uncounted]
    text = render(made.shown, made.rows, made.heading, notes, arguments.format, made.best)
    put(text, arguments.out)
    return 0
