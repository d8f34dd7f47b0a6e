"""Hydra's launchers as this harness uses them; what to say when one is missing or loses a job."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from models.errors import first_line
from models.registry import namesake

EXTRAS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray", "joblib": ""}
"""What of this project must be installed for a launcher."""


def prefer_own_defaults() -> None:
    """Change defaults of the launchers that are installed where they do not suit cells.

    A config file of the same name would be checked against the launcher's own, with a warning.
    """
    OmegaConf.register_new_resolver("bench_processes", _processes, replace=True)
    Plugins.instance()  # imports the launchers, which then have stored their defaults
    store = ConfigStore.instance()
    for name, values in _defaults().items():
        try:
            default = store.load(f"hydra/launcher/{name}.yaml").node
        except ConfigLoadError:  # not installed
            continue
        node = OmegaConf.merge(default, values)
        store.store(group="hydra/launcher", name=name, node=node, provider="quantization-bench")


def _processes() -> int:
    """Return one process a GPU or, as joblib has it, one a CPU core."""
    import torch  # not where a sweep is only composed

    return torch.cuda.device_count() or -1


def _defaults() -> dict[str, dict[str, Any]]:
    return {
        # Cells are long: handed out one at a time, the last ones do not wait behind each other.
        "joblib": {"n_jobs": "${bench_processes:}", "batch_size": "1"},
        # A job that is taken off its node, or whose time is over, is queued again: it goes on from
        # what is kept.
        "submitit_slurm": {
            "submitit_folder": "${hydra.sweep.dir}/submitit/%j",
            "name": "quantization-bench",
            "cpus_per_task": 4,
            "timeout_min": 240,
            "max_num_timeout": 20,
            "array_parallelism": 64,
            "additional_parameters": {"requeue": True},
            "stderr_to_stdout": True,
        },
        # A job is started again whose worker or node has died. The launcher's own size of the
        # object store is for a cluster that it starts, and any other refuses it.
        "ray": {
            "ray": {
                "init": {"object_store_memory": None},
                "remote": {"num_cpus": 1, "num_gpus": 0, "max_retries": 3},
            }
        },
    }


def missing_launcher(error: Exception) -> str | None:
    """Return what to install where Hydra finds no launcher of the name given, else None."""
    first = first_line(error)
    for name, extra in EXTRAS.items():
        if first.endswith(f"Could not find 'hydra/launcher/{name}'"):
            package = f"quantization-bench[{extra}]" if extra else "quantization-bench"
            return f"hydra/launcher={name} is not installed; pip install '{package}'"
    return None


def lost_by_launcher(error: BaseException) -> str | None:
    """Return a line on an error that came out of a launcher, None for one from elsewhere.

    Jobs raise nothing, so it is a worker that died, or a cluster that refused.
    """
    plugins = (name.split(".")[1] for name in _modules(error.__traceback__) if "." in name)
    plugin = next((name for name in plugins if name.endswith("_launcher")), None)
    if plugin is None:
        return None
    reason = first_line(error) or "no reason given"
    name = plugin.removeprefix("hydra_").removesuffix("_launcher")
    line = f"the {name} launcher stopped: {type(error).__name__}: {reason}"
    # Some workers look for modules in the folder where the command was typed first.
    hidden = namesake("bench")
    return line if hidden is None else f"{line} ({hidden} may hide this project there; rename it)"


def _modules(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        yield str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
