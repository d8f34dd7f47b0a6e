"""Tables by name: of a paper, of an experiment, of a group of cells, or kept in a file."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.config.files import options
from bench.tables.kept import SUFFIX
from bench.tables.table import Table, TableSource, cells_table, joint_table
from models.errors import BenchError
from models.registry import did_you_mean

TABLES = Path(__file__).parent / "tables"


@cache
def table_names() -> tuple[str, ...]:
    """Return the names of the tables of papers."""
    return tuple(sorted(path.stem for path in TABLES.glob("*.yaml")))


def make_tables(names: Sequence[str], source: TableSource) -> Table:
    """Return the table called by the one of `names`, or of several all their cells as one.

    Raises BenchError as `make_table`, without a name, and where one of several is a paper's.
    """
    if not names:
        raise BenchError("name a table: `bench ls experiments` and `bench ls tables` list them")
    if len(names) == 1:
        return make_table(names[0], source)
    for name in names:
        if name in table_names():
            raise BenchError(f"{name} is a paper's table and stands alone; leave the others out")
        _check_known(name, source)
    return joint_table(names, source)


def make_table(name: str, source: TableSource) -> Table:
    """Return the table called `name`, of a paper, of an experiment, of a group or of a CSV file.

    Raises BenchError for an unknown name, or cells that do not compose.
    """
    if name in table_names():
        # What knows of papers is not imported for the table of an experiment.
        from bench.papers.definition import load_definition
        from bench.papers.published import load_published
        from bench.papers.table import paper_table

        return paper_table(name, load_definition(name), load_published(), source)
    _check_known(name, source)
    return cells_table(name, source)


def _check_known(name: str, source: TableSource) -> None:
    if name.endswith(SUFFIX):
        return
    experiments = options("experiment", source.user_configs)
    groups = {result.group for result in source.results}
    if name not in experiments and name not in groups:
        names = {*experiments, *groups, *table_names()}
        raise BenchError(f"unknown table {name!r}; {did_you_mean(name, names)}")
