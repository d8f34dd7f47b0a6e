"""What W&B sees of the user's surroundings, and whether they give it an account to upload to.

Each of its variables can hold what its client refuses, and what one variable holds costs every run.
So a run is written without any of them, and those of an account are seen by uploads alone.
"""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from bench.machine.children import environment
from models.errors import BenchError, first_line, first_mistake
from models.paths import expanded

Variables = dict[str, str | None]
"""Environment variables to set, and with None to unset."""

# `wandb agent` and launchers hand such down to every process, and all its runs would be one.
_OF_ONE_RUN = (
    *("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_RESUME"),
    *("WANDB_RESUME_FROM", "WANDB_FORK_FROM", "WANDB_NAME", "WANDB_NOTES", "WANDB_TAGS"),
    *("WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_PROJECT", "WANDB_MODE", "WANDB_SERVICE"),
)
# Its service would report to its makers, and at the end of a command wait for a server that fails.
_QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
_CACHES = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR")
_MODES = {
    **dict.fromkeys(("", "online", "run", "shared"), "online"),
    **dict.fromkeys(("offline", "dryrun"), "offline"),
    "disabled": "none",
}


class Mode(NamedTuple):
    """`name` is "online", "offline" or "none"; why: of offline where online was asked for."""

    name: str
    why: str | None = None


def effective_mode(asked: str) -> Mode:
    """Return what becomes of "online", "offline" or "none": offline without an account.

    WANDB_MODE=offline or =disabled in the environment wins, as W&B's users expect.
    """
    variable = os.environ.get("WANDB_MODE", "")
    mode = _MODES.get(variable.strip().lower())
    if "none" in (asked, mode):
        return Mode("none")
    if asked == "offline" or mode == "offline":
        return Mode("offline")
    if mode is None:
        return Mode("offline", f"warning: WANDB_MODE={variable!r} is no mode of W&B")
    try:
        with environment(of_account()):
            has_account = _has_account()
    except Exception as error:  # whatever it makes of its variables, files and packages
        return Mode("offline", f"warning: W&B does not take its settings: {reason(error)}")
    return Mode("online") if has_account else Mode("offline", "W&B: no key configured")


def _has_account() -> bool:
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    finally:
        if wandb.run is None:  # of the user's own code
            wandb.teardown()  # it keeps what it has read, for the runs that are written next


def of_writing(outputs: Path) -> Variables:
    """Return the surroundings of a run that is written, with W&B's caches under `outputs`."""
    folder = outputs.absolute() / "cache" / "wandb"
    hidden: Variables = {name: None for name in (*_OF_ONE_RUN, *os.environ) if "WANDB_" in name}
    own = {"WANDB_DIR": str(folder), "WANDB_CONFIG_DIR": str(folder)}
    return hidden | _QUIET | own | {"WANDB_SAGEMAKER_DISABLE": "true"} | _places(folder)


def of_upload(outputs: Path) -> Variables:
    """Return the surroundings of what uploads runs; its own log goes beside them."""
    folder = outputs.absolute() / "cache" / "wandb"
    return of_account() | {"WANDB_DIR": str(outputs)} | _places(folder)


def of_account() -> Variables:
    """Return the surroundings of what asks for the account."""
    return dict.fromkeys(_OF_ONE_RUN) | _QUIET | _home(Path(tempfile.gettempdir()))


def _places(folder: Path) -> Variables:
    """Return where W&B keeps what it writes for itself: in no home, which may not be writable."""
    caches = {name: os.environ.get(name) or str(folder) for name in _CACHES}
    return caches | _home(folder)


def _home(folder: Path) -> Variables:
    """Return nothing where there is a home directory; else `folder` stands for it."""
    try:
        expanded("~")
    except BenchError:
        return {"HOME": str(folder)}
    return {}


def reason(error: Exception) -> str:
    """Return one line on what W&B refuses, without the value: it may be a secret."""
    if isinstance(error, ValidationError):
        mistake = first_mistake(error)
        return f"{mistake.key}: {mistake.message}" if mistake.key else mistake.message
    return first_line(error).rstrip(".") or type(error).__name__
