"""`bench table`: the numbers of a paper or of an experiment as a table."""

import logging
from argparse import Namespace
from typing import Any

from bench.cells.store import INTEGER, Inventory, Store
from bench.config.experiments import outputs_of
from bench.console import put
from bench.papers.by_name import make_tables, table_names
from bench.plots.costs import plot_costs
from bench.plots.spread import plot_spread
from bench.tables.costs import check_cost, panels_of, why_without, without
from bench.tables.headline import metrics_of, titles
from bench.tables.lines import number_of
from bench.tables.numbers import NUMBERS, OF_INTEGERS, TOP1
from bench.tables.render import render
from bench.tables.spread import spread_of
from bench.tables.table import Table, TableSource
from models.errors import BenchError

log = logging.getLogger(__name__)


def table(arguments: Namespace) -> int:
    """Print or write the table, or with --missing the commands for what is not run; return 0.

    With --plot it is drawn too, with --against over a cost. Raises BenchError for an unknown table
    or cost, for W&B runs that cannot be read, for a file that cannot be written, and where there is
    nothing to draw.
    """
    if arguments.against is not None:
        if arguments.plot is None:
            raise BenchError(f"--against {arguments.against} is of a plot; add --plot FILE")
        check_cost(arguments.against)
    inventory = results_of(arguments)
    content = make_tables(arguments.names, table_source(inventory, arguments))
    if arguments.plot is not None:
        _plot(arguments, content)
    if not arguments.missing:
        return show(content, inventory, arguments)
    put("".join(f"{command}\n" for command in content.missing), arguments.out)
    return 0


def _plot(arguments: Namespace, content: Table) -> None:
    name, path, cost = " ".join(arguments.names), arguments.plot, arguments.against
    if name in table_names():
        raise BenchError(f"--plot is for tables of what was measured; {name} is a paper's")
    if not (content.rows["status"] == "done").any():
        raise BenchError(f"--plot: none of the cells of {name} are measured; bench run them first")
    if not path.parent.is_dir():
        raise BenchError(f"--plot {path}: there is no folder {path.parent}; make it first")
    if cost is None:
        plot_spread(*spread_of(content.rows), path, titles(metrics_of(content.rows)))
        return
    lacking, measured = without(content.rows, cost)
    if lacking == measured:
        raise BenchError(f"--against {cost}: no cell of {name} records it; {why_without(cost)}")
    if lacking:
        log.warning(
            "warning: %s of %s measured cells record no %s and are not drawn; %s",
            *(lacking, measured, cost, why_without(cost)),
        )
    plot_costs(panels_of(content.rows, cost), NUMBERS[cost].meaning, path)


def results_of(arguments: Namespace) -> Inventory:
    """Return the results that are typed for: those in local files, or in W&B runs."""
    if arguments.source is None:
        return Store(outputs_of(arguments.overrides)).inventory()
    from bench.tracking.fetch import results_of_runs

    return results_of_runs(arguments.source)


def table_source(inventory: Inventory, arguments: Namespace) -> TableSource:
    """Return what a table or the ledger is made of, as typed."""
    show = getattr(arguments, "show", TOP1).split(",")
    sort = getattr(arguments, "sort", None)
    asked = {*show, *([] if sort is None else [number_of(sort)])}
    integers = _integers_of(inventory, arguments) if asked & set(OF_INTEGERS) else {}
    return TableSource(
        inventory.results, arguments.overrides, arguments.config_dir, show, sort, integers
    )


def _integers_of(inventory: Inventory, arguments: Namespace) -> dict[str, dict[str, Any]]:
    """Return what `bench verify` has kept beside the results in local files, by id."""
    if arguments.source is not None:
        return {}
    store = Store(outputs_of(arguments.overrides))
    notes = {each.id: store.read_note(each.id, INTEGER) for each in inventory.results}
    return {id: note for id, note in notes.items() if isinstance(note, dict)}


def show(content: Table, inventory: Inventory, arguments: Namespace) -> int:
    """Print a table in the asked format, or write it; return 0.

    Raises BenchError for a file that cannot be written.
    """
    uncounted = inventory.note()
    notes = content.notes if uncounted is None else [*content.notes, uncounted]
    put(render(content._replace(notes=notes), arguments.format), arguments.out)
    return 0
