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
from bench.config.words import check_one_value, text_of
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
    jobs = _jobs_of(
        configs.sweep([f"experiment={name}", *overrides]).sweeper, overrides, user_configs
    )
    return [(words, configs.compose(words)) for words in ([f"experiment={name}", *j] for j in jobs)]


def experiment_of(overrides: Sequence[str]) -> str | None:
    """Return the experiment that `overrides` of one job name, where they name one."""
    named = [match[1] for word in overrides if (match := _EXPERIMENT.fullmatch(word))]
    return named[-1] if named else None


def check_one_experiment(overrides: Sequence[str], user_configs: Path | None = None) -> None:
    """Raise BenchError for `overrides` that name several experiments.

    Hydra would take their names for the values of a sweep, or merge their configs, and run none of
    their sweeps.
    """
    for override in overrides:
        match = _EXPERIMENT.fullmatch(override)
        if match and (match[1].startswith("[") or len(jobs_of([override], None, user_configs)) > 1):
            raise BenchError(f"{override}: give one experiment a run; each has a sweep of its own")


def typed_jobs(
    overrides: Sequence[str], multirun: bool, user_configs: Path | None = None
) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the overrides of each job of a `bench run`, and what they compose to.

    multirun: whether it is given `-m`; an experiment may ask for that too.
    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for a job that does not compose, and for a sweeper that lists no jobs.
    """
    configs = Configs(user_configs)
    jobs = _typed(overrides, multirun, configs, user_configs)
    if jobs is None:
        raise BenchError(
            "hydra/sweeper decides on its jobs as it goes; leave it at its default for --dry-run"
        )
    return [(job, configs.compose(job)) for job in jobs]


def check_typed(overrides: Sequence[str], multirun: bool, user_configs: Path | None = None) -> None:
    """Raise BenchError where a `bench run` does not compose, before PyTorch is imported.

    Composed are as many jobs as have all the words of the sweep between them. Arguments as of
    `typed_jobs`; of a sweeper that lists no jobs nothing is known.
    """
    configs = Configs(user_configs)
    seen: set[str] = set()
    for job in _typed(overrides, multirun, configs, user_configs) or ():
        if not seen.issuperset(job):
            seen.update(job)
            configs.compose(job)


def _typed(
    overrides: Sequence[str], multirun: bool, configs: Configs, user_configs: Path | None
) -> list[list[str]] | None:
    """Return the overrides of each job of a `bench run`; None of a sweeper that lists no jobs."""
    sweep = configs.sweep(overrides)
    job = [override for override in overrides if not override.startswith("hydra")]
    if not multirun and not sweep.always:
        check_one_value(job)
        return [job]
    if not sweep.sweeper.keys() <= _LISTING:
        return None
    return _jobs_of(sweep.sweeper, job, user_configs)


def _jobs_of(
    sweeper: Mapping[str, Any], overrides: Sequence[str], user_configs: Path | None
) -> list[list[str]]:
    grids, params = sweeper.get("grids") or (), sweeper.get("params") or {}
    return jobs_of_sweep(grids, params, overrides, user_configs)


def outputs_of(overrides: Sequence[str]) -> Path:
    """Return the outputs folder that `overrides` name, or the default one.

    Raises BenchError where there is no home directory for a ~ in it.
    """
    named = [o.partition("=")[2] for o in overrides if o.startswith("paths.outputs=")]
    return expanded(text_of(named[-1]) if named else DEFAULT_OUTPUTS)
