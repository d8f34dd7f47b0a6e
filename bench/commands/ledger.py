"""`bench ledger`: how many published numbers of each paper are reproduced here."""

from argparse import Namespace

from bench.commands.table import results_of, show, table_source
from bench.papers.ledger import make_ledger
from bench.papers.published import load_published


def ledger(arguments: Namespace) -> int:
    """Print or write the ledger; return 0.

    Raises BenchError for W&B runs that cannot be read, and for a file that cannot be written.
    """
    inventory = results_of(arguments)
    content = make_ledger(load_published(), table_source(inventory, arguments))
    return show(content, inventory, arguments)
