"""`bench table`: the numbers of a paper or of an experiment as a table."""

from argparse import Namespace

from bench.console import say
from bench.experiments import outputs_of
from bench.store import Found, Store, write_whole
from bench.tables.render import render
from bench.tables.table import Table, make_table


def table(arguments: Namespace) -> int:
    """Print or write the table, or with --missing the commands for what is not run; return 0.

    Raises BenchError for an unknown table, and for W&B runs that cannot be read.
    """
    found = results_of(arguments)
    made = make_table(arguments.name, arguments.overrides, found.results, arguments.config_dir)
    if not arguments.missing:
        return show(made, found, arguments)
    return _put("".join(f"{command}\n" for command in made.missing), arguments)


def results_of(arguments: Namespace) -> Found:
    """Return what a table or the ledger is made of: the local result files, or W&B runs."""
    if arguments.source is None:
        return Store(outputs_of(arguments.overrides)).found()
    from bench.tables.runs import results_of_runs

    return results_of_runs(arguments.source)


def show(made: Table, found: Found, arguments: Namespace) -> int:
    """Print a table in the asked format, or write it; return 0."""
    uncounted = found.note()
    notes = made.notes if uncounted is None else [*made.notes, uncounted]
    return _put(
        render(made.shown, made.rows, made.heading, notes, arguments.format, made.best), arguments
    )


def _put(text: str, arguments: Namespace) -> int:
    if arguments.out is None:
        if text:
            say(text.rstrip("\n"))
    else:
        write_whole(arguments.out, text)
        say(f"wrote {arguments.out}")
    return 0
