"""`bench validate`: compose every experiment without running it."""

from argparse import Namespace
from pathlib import Path

from bench.config.experiments import composed_jobs
from bench.config.files import options
from bench.config.schema import read_config
from bench.console import say
from bench.data.datasets import options_of
from methods.registry import make_method
from models.errors import BenchError
from models.zoo import choose_weights, entry


def validate(arguments: Namespace) -> int:
    """Say of each experiment how many cells it has, or what is wrong; return 1 if any is wrong."""
    wrong = 0
    # argparse takes overrides for names where they follow one.
    names = [word for word in arguments.experiment if "=" not in word]
    overrides = [*(word for word in arguments.experiment if "=" in word), *arguments.overrides]
    for name in names or options("experiment", arguments.config_dir):
        try:
            say(f"{name}: {check(name, overrides, arguments.config_dir)} cells")
        except BenchError as error:
            wrong += 1
            say(f"{name}: error: {error}")
    return 1 if wrong else 0


def check(name: str, overrides: list[str], user_configs: Path | None = None) -> int:
    """Return the number of cells of an experiment. Raises BenchError for the first wrong one."""
    jobs = composed_jobs(name, overrides, user_configs)
    for words, tree in jobs:
        try:
            config = read_config(tree)
            choose_weights(entry(config.model.name), config.model.weights)
            make_method(config.method)
            options_of(config.data)
        except BenchError as error:
            raise BenchError(f"{' '.join(words)}: {error}") from error
    return len(jobs)
