"""What of its machine one of several processes takes: its share of the CPU, a GPU of its own."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout
from joblib import cpu_count

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


def cpu_threads(environment: Mapping[str, str]) -> int | None:
    """Return how many CPU threads this process has been given, None where PyTorch knows by itself.

    PyTorch reads OMP_NUM_THREADS, which joblib and Ray set, and counts the CPUs that the process is
    bound to (taskset, cpusets). It does not know the quota of a control group, as containers have,
    nor Slurm's word on a cluster that binds no process.
    """
    if "OMP_NUM_THREADS" in environment:
        return None
    usable = cpu_count()
    cpus = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE")
    if cpus and cpus.isdigit() and int(cpus):
        return min(int(cpus), usable)
    return usable if usable < _bound_to() else None


def _bound_to() -> int:
    """Return the number of CPUs that the kernel lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS binds no process


class GpuClaim:
    """A GPU of this process's own, from when it is first asked for until this object goes.

    Without a word it goes with the process, however that ends.
    """

    def __init__(self) -> None:
        self._index: int | None = None
        self._lock: FileLock | None = None  # a lock is released when its object goes

    def index(self, count: int) -> int:
        """Return the index of a GPU, 0..`count`-1, that no other process of this user has taken.

        It is the same one each time; while all are taken the first call waits. count: the GPUs that
        CUDA_VISIBLE_DEVICES, or its absence, lets this process see.
        """
        if self._index is None:
            self._index, self._lock = _take(count)
        return self._index


def _take(count: int) -> tuple[int, FileLock]:
    folder = Path(tempfile.gettempdir()) / f"quantization-bench-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    locks = [FileLock(folder / name) for name in _names(count, os.environ)]
    announced = False
    while True:
        for index, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return index, lock
        if not announced:
            log.info("waiting for one of %d GPUs, which other processes have taken", count)
            announced = True
        time.sleep(_POLL_SECONDS)


def _names(count: int, environment: Mapping[str, str]) -> list[str]:
    """Return names of the visible GPUs that mean the same to processes that see other ones."""
    visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = visible[:count] if len(visible) >= count else [str(i) for i in range(count)]
    return [name.replace("/", "_") for name in named]
