"""The jobs of an experiment, and of a command line, with what each composes to."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.config.compose import Configs
from bench.config.files import options
from bench.config.grids import jobs_of, jobs_of_sweep
from bench.config.schema import Config, read_config
from models.errors import BenchError
from models.paths import expanded
from models.registry import did_you_mean

DEFAULT_OUTPUTS = "outputs"

_EXPERIMENT = re.compile(r"\+*experiment=(.*)", re.DOTALL)
# What is said of a sweeper whose jobs are all known before the first is run.
_LISTING = {"_target_", "grids", "params", "max_batch_size"}


class Job(NamedTuple):
    """One cell of an experiment: what to type for it, and what that composes to."""

    overrides: list[str]
    config: Config


def run_command(overrides: Sequence[str], user_configs: Path | None = None) -> str:
    """Return what to type to measure the cell of `overrides`."""
    option = [] if user_configs is None else ["--config-dir", str(user_configs)]
    return "bench run " + shlex.join([*option, *overrides])


def experiment_jobs(
    name: str, overrides: Sequence[str] = (), user_configs: Path | None = None
) -> list[Job]:
    """Return the cells of an experiment, with `overrides` as given on the command line.

    `shard=I/N` among them leaves the cells of that shard.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown experiment or a cell that does not compose.
    """
    composed = composed_jobs(name, overrides, user_configs)
    return [Job(words, read_config(tree)) for words, tree in composed]


def composed_jobs(
    name: str, overrides: Sequence[str] = (), user_configs: Path | None = None
) -> list[tuple[list[str], dict[str, Any]]]:
    """As `experiment_jobs`, with what each cell composes to still unchecked."""
    experiments = options("experiment", user_configs)
    if name not in experiments:
        raise BenchError(f"unknown experiment {name!r}; {did_you_mean(name, experiments)}")
    configs = Configs(user_configs)
    jobs = _jobs_of(configs.sweeper(name, overrides), overrides)
    return [(words, configs.compose(words)) for words in ([f"experiment={name}", *j] for j in jobs)]


def check_one_experiment(overrides: Sequence[str]) -> None:
    """Raise BenchError for `overrides` that name several experiments.

    Hydra would take their names for the values of a sweep, or merge their configs, and run none of
    their sweeps.
    """
    for override in overrides:
        match = _EXPERIMENT.fullmatch(override)
        if match and (match[1].startswith("[") or len(jobs_of([override])) > 1):
            raise BenchError(f"{override}: give one experiment a run; each has a sweep of its own")


def typed_jobs(
    overrides: Sequence[str], multirun: bool, user_configs: Path | None = None
) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the overrides of each job of a `bench run`, and what they compose to.

    multirun: whether it is given `-m`; an experiment may ask for that too.
    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for a job that does not compose, and for a sweeper that lists no jobs.
    """
    from hydra.types import RunMode

    configs = Configs(user_configs)
    hydra = configs.hydra(overrides)
    jobs = [[override for override in overrides if not override.startswith("hydra")]]
    if multirun or hydra.mode == RunMode.MULTIRUN:
        if not hydra.sweeper.keys() <= _LISTING:
            raise BenchError(
                f"{hydra.sweeper['_target_']} decides on its jobs as it goes; leave hydra/sweeper "
                "at its default"
            )
        jobs = _jobs_of(hydra.sweeper, jobs[0])
    return [(job, configs.compose(job)) for job in jobs]


def _jobs_of(sweeper: Mapping[str, Any], overrides: Sequence[str]) -> list[list[str]]:
    return jobs_of_sweep(sweeper.get("grids") or (), sweeper.get("params") or {}, overrides)


def outputs_of(overrides: Sequence[str]) -> Path:
    """Return the outputs folder that `overrides` name, or the default one.

    Raises BenchError where there is no home directory for a ~ in it.
    """
    named = [o.partition("=")[2] for o in overrides if o.startswith("paths.outputs=")]
    return expanded(named[-1] if named else DEFAULT_OUTPUTS)
