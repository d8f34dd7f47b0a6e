"""`bench table`: the cells of an experiment as a table."""

from argparse import Namespace

from bench.console import say
from bench.experiments import experiment_jobs, outputs_of
from bench.store import Store, write_whole
from bench.tables.collect import collect
from bench.tables.notes import footnotes, heading
from bench.tables.render import render
from bench.tables.summarise import summarise, wide


def table(arguments: Namespace) -> int:
    """Print or write the table; return 0.

    Raises BenchError for an unknown experiment.
    """
    results = Store(outputs_of(arguments.overrides)).results()
    cells = collect(
        experiment_jobs(arguments.name, arguments.overrides, arguments.config_dir), results
    )
    text = render(
        wide(summarise(cells)),
        cells,
        heading(cells),
        footnotes(results, cells),
        arguments.format,
    )
    if arguments.out is None:
        say(text.rstrip("\n"))
    else:
        write_whole(arguments.out, text)
        say(f"wrote {arguments.out}")
    return 0
