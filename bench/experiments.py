"""What configs compose to, without running it."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.config import Config, read_config
from bench.configs import config_folder, options
from bench.plugins import register_methods
from bench.sweep import jobs_of
from models.errors import BenchError
from models.registry import did_you_mean

DEFAULT_OUTPUTS = "outputs"

COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, ValueError)
"""What Hydra raises for a command line that means nothing; it has a ValueError for some."""


def compose_raw(
    overrides: Sequence[str],
    with_hydra: bool = False,
    name: str = "config",
    own: Path | None = None,
) -> DictConfig:
    """Compose `overrides` as `bench run` does, over the shipped primary config called `name`.

    own: a folder of the user's own configs (`--config-dir`).

    Raises BenchError, in one line, when they do not compose.
    """
    search = [] if own is None else [f"hydra.searchpath=[file://{own.resolve()}]"]
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose(name, [*overrides, *search], return_hydra_config=with_hydra)
    except COMPOSE_ERRORS as error:
        raise BenchError(explain(error)) from error


def explain(error: Exception) -> str:
    """Return one line for an error of Hydra's or OmegaConf's, with the closest known name."""
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


def experiment_jobs(name: str, overrides: Sequence[str] = (), own: Path | None = None) -> list[Job]:
    """Return the cells of an experiment, with `overrides` as given on the command line.

    own: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown experiment or a cell that does not compose.
    """
    known = options("experiment", own)
    if name not in known:
        raise BenchError(f"unknown experiment {name!r}; {did_you_mean(name, known)}")
    fixed = [f"experiment={name}", *_not_swept(overrides)]
    register_methods(overrides)
    composed = compose_raw(fixed, with_hydra=True, own=own)
    params: dict[str, Any] = OmegaConf.to_container(composed.hydra.sweeper.params) or {}  # type: ignore[assignment]
    swept = [f"{key}={value}" for key, value in params.items()]
    register_methods(swept)
    jobs = jobs_of([f"experiment={name}", *swept, *overrides])
    return [Job(job, read_config(compose_raw(job, own=own))) for job in jobs]


def _not_swept(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if len(jobs_of([override])) == 1]


def outputs_of(overrides: Sequence[str]) -> Path:
    """Return the outputs folder that `overrides` name, or the default one."""
    named = [o.partition("=")[2] for o in overrides if o.startswith("paths.outputs=")]
    return Path(named[-1] if named else DEFAULT_OUTPUTS).expanduser()
