"""Tables by name: of a paper, or of an experiment."""

from functools import cache
from pathlib import Path

from bench.config.files import options
from bench.tables.table import Table, TableSource, experiment_table
from models.errors import BenchError
from models.registry import did_you_mean

TABLES = Path(__file__).parent / "tables"


@cache
def table_names() -> tuple[str, ...]:
    """Return the names of the tables of papers."""
    return tuple(sorted(path.stem for path in TABLES.glob("*.yaml")))


def make_table(name: str, source: TableSource) -> Table:
    """Return the table called `name`, of a paper or of an experiment.

    Raises BenchError for an unknown name, or cells that do not compose.
    """
    if name in table_names():
        # What knows of papers is not imported for the table of an experiment.
        from bench.papers.definition import load_definition
        from bench.papers.published import load_published
        from bench.papers.table import paper_table

        return paper_table(name, load_definition(name), load_published(), source)
    experiments = options("experiment", source.user_configs)
    if name not in experiments:
        names = {*experiments, *table_names()}
        raise BenchError(f"unknown table {name!r}; {did_you_mean(name, names)}")
    return experiment_table(name, source)
