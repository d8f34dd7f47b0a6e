"""`bench table`: the numbers of a paper or of an experiment as a table."""

from argparse import Namespace

from bench.cells.store import Inventory, Store
from bench.config.experiments import outputs_of
from bench.console import put
from bench.papers.by_name import make_table
from bench.tables.numbers import TOP1
from bench.tables.render import render
from bench.tables.table import Table, TableSource


def table(arguments: Namespace) -> int:
    """Print or write the table, or with --missing the commands for what is not run; return 0.

    Raises BenchError for an unknown table, for W&B runs that cannot be read, and for a file that
    cannot be written.
    """
    inventory = results_of(arguments)
    content = make_table(arguments.name, table_source(inventory, arguments))
    if not arguments.missing:
        return show(content, inventory, arguments)
    put("".join(f"{command}\n" for command in content.missing), arguments.out)
    return 0


def results_of(arguments: Namespace) -> Inventory:
    """Return the results that are typed for: those in local files, or in W&B runs."""
    if arguments.source is None:
        return Store(outputs_of(arguments.overrides)).inventory()
    from bench.tracking.fetch import results_of_runs

    return results_of_runs(arguments.source)


def table_source(inventory: Inventory, arguments: Namespace) -> TableSource:
    """Return what a table or the ledger is made of, as typed."""
    show = getattr(arguments, "show", TOP1).split(",")
    return TableSource(inventory.results, arguments.overrides, arguments.config_dir, show)


def show(content: Table, inventory: Inventory, arguments: Namespace) -> int:
    """Print a table in the asked format, or write it; return 0.

    Raises BenchError for a file that cannot be written.
    """
    uncounted = inventory.note()
    notes = content.notes if uncounted is None else [*content.notes, uncounted]
    put(render(content._replace(notes=notes), arguments.format), arguments.out)
    return 0
