"""What configs compose to, without running it."""

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.config.files import config_folder, options
from bench.config.grids import jobs_of, jobs_of_sweep
from bench.config.plain import Composer, NotPlain
from bench.config.schema import Config, read_config
from models.errors import BenchError
from models.registry import did_you_mean

if TYPE_CHECKING:  # tables of plain configs do not import Hydra
    from omegaconf import DictConfig

DEFAULT_OUTPUTS = "outputs"

_OF_SWEEPS = re.compile(r"[+~]*(experiment=|hydra[/.])")
_EXPERIMENT = re.compile(r"\+*experiment=(.*)", re.DOTALL)
# What is said of a sweeper whose jobs are all known before the first is run.
_LISTING = {"_target_", "grids", "params", "max_batch_size"}


def compose_errors() -> tuple[type[Exception], ...]:
    """Return what Hydra raises for a command line that means nothing; ValueError for some."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return HydraException, OmegaConfBaseException, ValueError


def compose_raw(
    overrides: Sequence[str],
    with_hydra: bool = False,
    name: str = "config",
    user_configs: Path | None = None,
) -> "DictConfig":
    """Compose `overrides` as `bench run` does, over the shipped primary config called `name`.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError, in one line, when they do not compose.
    """
    from hydra import compose, initialize_config_dir

    from bench.config.sweeper import prefer_grids

    prefer_grids()
    search = [] if user_configs is None else [f"hydra.searchpath=[file://{user_configs.resolve()}]"]
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose(name, [*overrides, *search], return_hydra_config=with_hydra)
    except compose_errors() as error:
        raise BenchError(explain(error)) from error


def explain(error: Exception) -> str:
    """Return one line for an error of Hydra's or OmegaConf's, with the closest known name."""
    from hydra.errors import MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if "hydra/launcher/" in str(error):
        from bench.config.launchers import missing_launcher  # imports PyTorch

        if missing := missing_launcher(error):
            return missing
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"unknown {group} {name!r}; {did_you_mean(name, error.options)}"
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown and "is not in struct" in str(error.__cause__):
        return _unknown_key(unknown.group(1))
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line.strip() for e in (error, cause) if e for line in str(e).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("To append", "object_type"))]
    return "; ".join(dict.fromkeys(kept)) or type(error).__name__


def _unknown_key(key: str) -> str:
    from omegaconf import OmegaConf

    composed: Any = OmegaConf.to_container(compose_raw([]))
    group, _, last = key.partition(".")
    if not last or not isinstance(composed.get(group), dict):
        return f"unknown config value {key!r}; {did_you_mean(group, composed)}"
    close = difflib.get_close_matches(last, composed[group], n=1)
    if last in composed[group] or not close:
        return f"the chosen {group} has no value {key!r}; leave it out or choose another {group}"
    return f"unknown config value {key!r}; did you mean '{group}.{close[0]}'?"


class Job(NamedTuple):
    """One cell of an experiment: what to type for it, and what that composes to."""

    overrides: list[str]
    config: Config


def run_command(overrides: Sequence[str], user_configs: Path | None = None) -> str:
    """Return what to type to measure the cell of `overrides`."""
    given = [] if user_configs is None else ["--config-dir", str(user_configs)]
    return "bench run " + shlex.join([*given, *overrides])


def experiment_jobs(
    name: str, overrides: Sequence[str] = (), user_configs: Path | None = None
) -> list[Job]:
    """Return the cells of an experiment, with `overrides` as given on the command line.

    `shard=I/N` among them leaves the cells of that shard.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown experiment or a cell that does not compose.
    """
    known = options("experiment", user_configs)
    if name not in known:
        raise BenchError(f"unknown experiment {name!r}; {did_you_mean(name, known)}")
    try:
        return _plain_jobs(name, overrides, Composer(user_configs))
    except NotPlain:
        return _hydra_jobs(name, overrides, user_configs)


def check_one_experiment(overrides: Sequence[str]) -> None:
    """Raise BenchError for `overrides` that name several experiments.

    Hydra would take their names for the values of a sweep, or merge their configs, and run none of
    their sweeps.
    """
    for override in overrides:
        found = _EXPERIMENT.fullmatch(override)
        if found and (found[1].startswith("[") or len(jobs_of([override])) > 1):
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

    from bench.config.plugins import register_methods

    register_methods(overrides)
    hydra = _hydra_node(overrides, user_configs)
    jobs = [[override for override in overrides if not override.startswith("hydra")]]
    if multirun or hydra.mode == RunMode.MULTIRUN:
        if not hydra.sweeper.keys() <= _LISTING:
            raise BenchError(
                f"{hydra.sweeper['_target_']} decides on its jobs as it goes; leave hydra/sweeper "
                "at its default"
            )
        jobs = _swept(jobs[0], hydra.sweeper)
        register_methods([override for job in jobs for override in job])
    composer = Composer(user_configs)
    return [(job, _composed(job, composer, user_configs)) for job in jobs]


def _composed(job: Sequence[str], composer: Composer, user_configs: Path | None) -> dict[str, Any]:
    from omegaconf import OmegaConf

    try:
        return composer.compose(job)
    except NotPlain:
        tree: Any = OmegaConf.to_container(
            compose_raw(job, user_configs=user_configs), resolve=True
        )
        return tree


def _hydra_node(overrides: Sequence[str], user_configs: Path | None) -> "DictConfig":
    """Return what the experiment, and words for Hydra, say of a sweep and its launcher."""
    about_it = [override for override in overrides if _OF_SWEEPS.match(override)]
    return compose_raw(about_it, with_hydra=True, user_configs=user_configs).hydra


def _plain_jobs(name: str, overrides: Sequence[str], composer: Composer) -> list[Job]:
    jobs = _jobs(name, overrides, composer.sweeper(name))
    return [Job(job, read_config(composer.compose(job))) for job in jobs]


def _hydra_jobs(name: str, overrides: Sequence[str], user_configs: Path | None) -> list[Job]:
    from bench.config.plugins import register_methods

    register_methods(overrides)
    jobs = _jobs(
        name, overrides, _hydra_node([f"experiment={name}", *overrides], user_configs).sweeper
    )
    register_methods([override for job in jobs for override in job])
    return [Job(job, read_config(compose_raw(job, user_configs=user_configs))) for job in jobs]


def _jobs(name: str, overrides: Sequence[str], sweeper: Mapping[str, Any]) -> list[list[str]]:
    """Return the overrides of each job, first of them the experiment."""
    return [[f"experiment={name}", *job] for job in _swept(overrides, sweeper)]


def _swept(overrides: Sequence[str], sweeper: Mapping[str, Any]) -> list[list[str]]:
    return jobs_of_sweep(sweeper.get("grids") or (), sweeper.get("params") or {}, overrides)


def outputs_of(overrides: Sequence[str]) -> Path:
    """Return the outputs folder that `overrides` name, or the default one."""
    named = [o.partition("=")[2] for o in overrides if o.startswith("paths.outputs=")]
    return Path(named[-1] if named else DEFAULT_OUTPUTS).expanduser()
