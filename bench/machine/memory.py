"""How much memory a process has taken, what it may still take, and what says that there is none."""

from pathlib import Path

import torch


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error is one of memory; PyTorch's CPU allocator raises RuntimeError."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak, so that a cell is not charged for the one before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:  # not Linux, or not allowed: the peak is then that of the process
        return


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the peak since the reset: the GPU allocator's, or resident memory on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    peak = next((line for line in lines if line.startswith("VmHWM:")), None)
    return int(peak.split()[1]) * 1024 if peak else None


def available_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this machine, and the control groups of this process, still allow.

    root: where `proc` and `sys` are mounted. Without a word from them, as on no Linux: 2^63 - 1.
    """
    free = [2**63 - 1]
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(1024 * int(line.split()[1]))
    for line in _lines(root / "proc/self/cgroup"):
        if not line.startswith("0::/"):  # the one hierarchy of version 2
            continue
        top = root / "sys/fs/cgroup"
        group = top / line.removeprefix("0::/")
        for folder in (group, *group.parents):
            free += _left(folder)
            if folder == top:
                break
    return min(free)


def _left(group: Path) -> list[int]:
    """Return what a control group still allows, nothing where it has no limit.

    Pages of files that were not used lately count as free: the kernel takes them back.
    """
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if not limit or not used or limit[0] == "max":
        return []
    about = dict(line.split() for line in _lines(group / "memory.stat"))
    return [max(0, int(limit[0]) - int(used[0]) + int(about.get("inactive_file", 0)))]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
