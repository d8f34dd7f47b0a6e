"""Which published drops the cell of a request would be compared with."""

from functools import cache
from typing import NamedTuple

from bench.cells.request import Request, experiment_requests
from bench.papers.cells import table_cells
from bench.papers.comparison import FLOAT, TOP1, cell_of, printable_numbers, published_floats
from bench.papers.definition import Definition, load_definition
from bench.papers.published import Published, load_published
from bench.papers.records import records
from bench.tables.cell_rows import cell_rows


class _Table(NamedTuple):
    definition: Definition
    numbers: list[Published]
    floats: dict[tuple[str, str, str], float]
    requests: list[Request]


@cache
def _table(name: str) -> _Table:
    definition = load_definition(name)
    numbers = printable_numbers(definition, load_published())
    return _Table(definition, numbers, published_floats(numbers), experiment_requests(name))


def published_drops(request: Request, name: str) -> tuple[float, ...]:
    """Return published float minus published top-1, in points, of each row that a cell is for.

    name: of a paper's table, whose experiment the cell is of. Empty where no row is, or where no
    float network is published beside it.
    """
    table = _table(name)
    # With the others of its table, so that it has the columns that rows are told apart by.
    rows = cell_rows([request, *table.requests], [])
    cell = [row for row in records(table_cells(rows, [])) if row["cell"] == 0]
    drops: dict[float, None] = {}
    for number in table.numbers:
        known = table.floats.get((number.paper, number.table, number.model))
        if number.metric != TOP1 or number.method == FLOAT or known is None:
            continue
        if cell_of(number, table.definition, cell) is not None:
            drops[known - number.value] = None
    return tuple(drops)
