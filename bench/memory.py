"""How much memory a process may still take on the CPU's side, and what says that there is none."""

from pathlib import Path

import torch


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error is one of memory; PyTorch's CPU allocator raises RuntimeError."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)


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
        return path.read_text().splitlines()
    except OSError:
        return []
