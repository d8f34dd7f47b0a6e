"""What a command line composes to: by Hydra, or where it is plain in a thousandth of its time."""

import difflib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.files import config_folder
from bench.config.plain import Composer, NotPlain, Sweep
from bench.config.words import check_options, unreadable
from models.errors import BenchError
from models.registry import did_you_mean

if TYPE_CHECKING:  # tables of plain configs do not import Hydra
    from omegaconf import DictConfig

_LOST = re.compile(r"Interpolation key '([^']+)' not found\s+full_key: (\S+)")
_OF_SWEEPS = re.compile(r"[+~]*(experiment=|hydra[/.])")


def compose(overrides: Iterable[str], user_configs: Path | None = None) -> dict[str, Any]:
    """Return what `bench run` composes `overrides` to, references resolved, without `hydra`.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError, in one line, when they do not compose.
    """
    return Configs(user_configs).compose(overrides)


class Configs:
    """The shipped configs and a user's own; each plain file is read once.

    user_configs: a folder of the user's own configs (`--config-dir`).
    """

    def __init__(self, user_configs: Path | None = None) -> None:
        self._user_configs = user_configs
        self._plain = Composer(user_configs)

    def compose(self, overrides: Iterable[str]) -> dict[str, Any]:
        """Return and raise as `compose`."""
        overrides = list(overrides)
        tree = self.plain(overrides)
        if tree is not None:
            return tree
        return compose_with_hydra(overrides, self._user_configs)

    def plain(self, overrides: Iterable[str]) -> dict[str, Any] | None:
        """Return what `overrides` compose to, None where only Hydra can tell."""
        try:
            return self._plain.compose(overrides)
        except NotPlain:
            return None

    def sweep(self, overrides: Sequence[str]) -> Sweep:
        """Return what the experiment, and words for Hydra, say of a sweep.

        Raises BenchError as `compose`.
        """
        of_sweeps = [override for override in overrides if _OF_SWEEPS.match(override)]
        if not of_sweeps:
            return Sweep(False, {})
        if len(of_sweeps) == 1 and of_sweeps[0].startswith("experiment="):
            with suppress(NotPlain):
                return self._plain.sweep(of_sweeps[0].removeprefix("experiment="))
        hydra = _by_hydra(of_sweeps, self._user_configs, with_hydra=True).hydra
        return Sweep(hydra.mode is not None and hydra.mode.name == "MULTIRUN", hydra.sweeper)


def compose_with_hydra(
    overrides: Sequence[str], user_configs: Path | None = None
) -> dict[str, Any]:
    """As `compose`, whether `overrides` are plain or not."""
    return _resolved(_by_hydra(overrides, user_configs))


def compose_training(overrides: Sequence[str]) -> dict[str, Any]:
    """Return what `bench train` composes `overrides` to. Raises BenchError as `compose`."""
    return _resolved(_by_hydra(overrides, primary="train"))


def compose_errors() -> tuple[type[Exception], ...]:
    """Return what Hydra raises for a command line that means nothing; ValueError for some."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return HydraException, OmegaConfBaseException, ValueError


def explain(error: Exception) -> str:
    """Return one line for an error of Hydra's or OmegaConf's, with the closest known name."""
    from hydra.errors import MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if "hydra/launcher/" in str(error):
        from bench.config.launchers import missing_launcher  # imports Hydra

        if missing := missing_launcher(error):
            return missing
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"unknown {group} {name!r}; {did_you_mean(name, error.options)}"
    chosen = re.match(r"Multiple values for ([^.]+)\. To override", str(error))
    if chosen:
        return f"{chosen[1]} has an option already; write {chosen[1]}=... without the +"
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown and "is not in struct" in str(error.__cause__):
        return _unknown_key(unknown.group(1))
    if lost := _LOST.match(str(error)):
        return _lost_reference(lost[2], lost[1])
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line.strip() for e in (error, cause) if e for line in str(e).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("To append", "object_type"))]
    return "; ".join(dict.fromkeys(kept)) or type(error).__name__


def _unknown_key(key: str) -> str:
    composed = compose([])
    group, _, last = key.partition(".")
    if not last or not isinstance(composed.get(group), dict):
        return f"unknown config value {key!r}; {did_you_mean(group, composed)}"
    close = difflib.get_close_matches(last, composed[group], n=1)
    if last in composed[group] or not close:
        return f"the chosen {group} has no value {key!r}; leave it out or choose another {group}"
    return f"unknown config value {key!r}; did you mean '{group}.{close[0]}'?"


def _lost_reference(key: str, named: str) -> str:
    """Return what to say of the value `key`, which is to be that of `named`, which is not there."""
    group = named.partition(".")[0]
    if group not in compose([]):
        return f"{key} is set to that of {named!r}, which there is not"
    return f"{key} is set to that of {named}, which the chosen {group} has not; choose another"


def _by_hydra(
    overrides: Sequence[str],
    user_configs: Path | None = None,
    with_hydra: bool = False,
    primary: str = "config",
) -> "DictConfig":
    """Compose over the shipped config called `primary`. Raises BenchError."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import OverrideParseException

    from bench.config.plugins import register_own
    from bench.config.sweeper import prefer_grids

    check_options(overrides, user_configs)
    prefer_grids()
    register_own(overrides)
    search = [] if user_configs is None else [f"hydra.searchpath=[file://{user_configs.resolve()}]"]
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose(primary, [*overrides, *search], return_hydra_config=with_hydra)
    except OverrideParseException as error:
        raise unreadable(error.override) from error
    except compose_errors() as error:
        raise BenchError(explain(error)) from error


def _resolved(composed: "DictConfig") -> dict[str, Any]:
    from omegaconf import OmegaConf

    try:
        tree: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except compose_errors() as error:
        raise BenchError(explain(error)) from error
    return tree
