"""`bench cite`: BibTeX for a paper, or for what an experiment uses."""

from argparse import Namespace

from bench.config.experiments import experiment_jobs
from bench.config.files import options
from bench.console import say
from bench.papers.citations import cite_cells, cite_paper, paper_names
from models.errors import BenchError
from models.registry import did_you_mean


def cite(arguments: Namespace) -> int:
    """Print the entries, and in a last comment what has nothing to cite; return 0.

    Raises BenchError for a name that is neither an experiment nor a paper.
    """
    name = arguments.name
    experiments = options("experiment", arguments.config_dir)
    if name not in experiments:
        if name not in paper_names():
            hint = did_you_mean(name, [*experiments, *paper_names()])
            raise BenchError(f"{name!r} is neither an experiment nor a paper; {hint}")
        say(cite_paper(name))
        return 0
    jobs = experiment_jobs(name, arguments.overrides, arguments.config_dir)
    entries, without = cite_cells(job.config for job in jobs)
    say("\n\n".join(entries))
    if without:
        say(f"\n% nothing to cite is known for: {', '.join(without)}")
    return 0
