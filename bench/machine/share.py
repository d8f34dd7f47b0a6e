"""What of its machine one of several processes takes: its share of the CPU, a GPU of its own."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


def cpu_threads(environment: Mapping[str, str]) -> int | None:
    """Return how many CPU threads the scheduler of this process has given it, None for no word.

    joblib and Ray say it as OMP_NUM_THREADS, which PyTorch reads by itself. Slurm binds a process
    to its CPUs only where a cluster is set up so; elsewhere PyTorch would count those of the node.
    """
    if "OMP_NUM_THREADS" in environment:
        return None
    said = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE")
    return int(said) if said and said.isdigit() and int(said) else None


@cache
def own_gpu(count: int) -> int:
    """Return the index of a GPU, 0..`count`-1, that no other process of this user has taken.

    It belongs to this process until the process ends, however it ends; while all are taken this
    waits. count: the GPUs that CUDA_VISIBLE_DEVICES, or its absence, lets this process see.
    """
    folder = Path(tempfile.gettempdir()) / f"quantization-bench-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    locks = [FileLock(folder / name) for name in _names(count, os.environ)]
    said = False
    while True:
        for index, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _held.append(lock)
            return index
        if not said:
            log.info("waiting for one of %d GPUs, which other processes have taken", count)
            said = True
        time.sleep(_POLL_SECONDS)


# A lock is released when its object goes.
_held: list[FileLock] = []


def _names(count: int, environment: Mapping[str, str]) -> list[str]:
    """Return names of the visible GPUs that mean the same to processes that see other ones."""
    visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = visible[:count] if len(visible) >= count else [str(i) for i in range(count)]
    return [name.replace("/", "_") for name in named]
