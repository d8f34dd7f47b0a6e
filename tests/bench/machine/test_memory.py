"""Memory that a process may still take, and what it has held."""

import mmap
from pathlib import Path

import pytest
import torch

from bench.machine.memory import available_bytes, peak_memory_bytes, reset_peak_memory

CPU = torch.device("cpu")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_smallest_limit_counts(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) == 2**63 - 1  # no word from this system
    write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    write(tmp_path / "proc/self/cgroup", "1:memory:/old\n0::/slurm/job\n")
    assert available_bytes(tmp_path) == 5000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    write(group / "slurm/job/memory.max", "max\n")
    write(group / "slurm/job/memory.current", "700\n")
    assert available_bytes(tmp_path) == 5000 * 1024
    write(group / "slurm/memory.max", "3000\n")
    write(group / "slurm/memory.current", "2500\n")
    assert available_bytes(tmp_path) == 500
    write(group / "slurm/memory.stat", "anon 1100\ninactive_file 1400\nactive_file 0\n")
    assert available_bytes(tmp_path) == 1900
    write(group / "memory.max", "100\n")
    write(group / "memory.current", "100\n")
    assert available_bytes(tmp_path) == 0


def test_this_machine_has_some() -> None:
    assert 2**20 < available_bytes() < 2**63


def test_peak_memory_sees_what_was_held_since_the_reset() -> None:
    reset_peak_memory(CPU)
    before = peak_memory_bytes(CPU)
    if before is None:
        pytest.skip("this system does not say")
    # Fresh pages: an allocator may hand out those that an earlier test has left resident.
    with mmap.mmap(-1, 64 * 2**20) as held:
        held.write(bytes(64 * 2**20))
    after = peak_memory_bytes(CPU)
    assert after is not None
    assert after - before >= 60 * 2**20
