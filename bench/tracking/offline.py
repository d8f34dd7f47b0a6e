"""An offline run, written with what W&B takes of its name, tags and project."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.schema import TrackingConfig
from bench.machine.children import environment
from bench.tracking.surroundings import of_writing, reason

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

# What its server refuses, and its client only in part: such a run would be lost when it is synced.
LONGEST = {"tag": 64, "job type": 64, "name": 128, "group": 128, "project": 128}
_NOT_IN_PROJECTS = "/\\#?%:"


@cache
def warn_once(text: str) -> None:
    """Say what holds for many runs a single time."""
    log.warning("warning: %s", text)


@contextmanager
def offline_run(
    partial: Path,
    outputs: Path,
    tracking: TrackingConfig,
    tags: Iterable[str],
    names: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Iterator["wandb.Run"]:
    """Write an offline run into the empty folder `partial` for the time of the block.

    names: its `name`, `group` and `job_type`, and its `id` where it has one of its own.
    What W&B takes in no form is left out, and what it takes in part is cut, with one warning.
    """
    # Before they are hidden: what the user may say of every run.
    entity = tracking.entity or os.environ.get("WANDB_ENTITY")
    notes = os.environ.get("WANDB_NOTES")
    with environment(of_writing(outputs)):
        import wandb

        with wandb.init(
            mode="offline",
            dir=str(partial),
            reinit="create_new",
            settings=_settings(),
            config=dict(config or {}),
            **_accepted(
                project=project_name(tracking.project),
                entity=entity or None,
                name=fitting("name", names["name"]),
                group=fitting("group", names["group"]),
                job_type=fitting("job type", names["job_type"]),
                tags=sorted({fitting("tag", tag) for tag in tags} - {""}),
                notes=notes and notes.encode("utf-8", "replace").decode(),
                id=names.get("id"),
            ),
        ) as run:
            yield run


def _settings() -> "wandb.Settings":
    """Return the settings of every run: nothing printed, nothing said of the machine or code."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )


def _accepted(**arguments: Any) -> dict[str, Any]:
    """Return those of the arguments of `wandb.init` that W&B takes."""
    return {name: value for name, value in arguments.items() if _takes(name, value)}


def _takes(name: str, value: Any) -> bool:
    import wandb

    setting = name if name in ("project", "entity") else f"run_{name}"
    try:
        wandb.Settings(**{setting: value})
    except Exception as error:  # its own kinds, and those of the library that it checks with
        warn_once(f"W&B runs are written without their {name}: {reason(error)}")
        return False
    return True


def fitting(what: str, text: str) -> str:
    """Return `text` as W&B takes it for a tag, a name, ...: in one line, and cut with a warning."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    most = LONGEST[what]
    if len(line) <= most:
        return line
    short = f"{line[: most - 1]}…"
    if what != "name":  # which each run has another one of
        warn_once(f"W&B takes {most} characters of a {what}; {short!r} is cut")
    return short


def project_name(name: str) -> str:
    """Return `name` as W&B takes it for a project."""
    own = fitting("project", "".join("-" if c in _NOT_IN_PROJECTS else c for c in name))
    if any(character in _NOT_IN_PROJECTS for character in name):
        warn_once(f"W&B has no project {name!r}; the runs are in {own!r}")
    return own or "uncategorized"
