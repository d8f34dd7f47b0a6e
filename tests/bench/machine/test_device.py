import mmap
import platform
import subprocess
import sys
from typing import Literal

import pytest
import torch

from bench.config.schema import RuntimeConfig
from bench.machine import device as machine
from bench.machine.device import Device
from bench.machine.share import GpuClaim
from models.errors import BenchError

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_arithmetic_is_repeatable() -> None:
    assert machine.prepare_device(RuntimeConfig(device="cpu"), GpuClaim()).device == CPU
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark


def test_auto_is_the_best_there_is() -> None:
    found = machine.prepare_device(RuntimeConfig(device="auto"), GpuClaim())
    assert found.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        machine.prepare_device(RuntimeConfig(device="cpu", threads=1), GpuClaim())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("processor", "capability", "precision", "warned"),
    [
        ("x86_64", "AVX2", "bf16", True),
        ("AMD64", "DEFAULT", "bf16", True),
        ("x86_64", "AVX512", "bf16", False),
        ("aarch64", "DEFAULT", "bf16", False),
        ("x86_64", "AVX2", "fp32", False),
    ],
)
def test_bfloat16_that_is_emulated_is_said_once(
    processor: str,
    capability: str,
    precision: Literal["fp32", "bf16"],
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine._say_that_bf16_is_slow.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for _ in range(2):
        machine.prepare_device(RuntimeConfig(device="cpu", precision=precision), GpuClaim())
    said = [record for record in caplog.records if "this processor has no bfloat16" in record.msg]
    assert len(said) == int(warned)


@pytest.mark.parametrize("name", ["banana", "cuda:99", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(BenchError) as error:
        machine.prepare_device(RuntimeConfig(device=name), GpuClaim())
    assert str(error.value).startswith(f"runtime.device={name} cannot be used here: ")
    assert str(error.value).endswith("; give auto, cpu, cuda or cuda:N")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 120  # and not every type of device that PyTorch knows


@pytest.mark.parametrize(
    ("name", "gpus", "reason"),
    [
        ("gpu", 1, "there is no such device"),
        ("cuda", 0, "PyTorch sees no GPU"),
        ("cuda:1", 1, "PyTorch sees 1 GPU"),
        ("cuda:2", 2, "PyTorch sees 2 GPUs"),
    ],
)
def test_why_a_device_is_not_there(
    name: str, gpus: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(BenchError) as error:
        machine.check_device(name)
    assert str(error.value) == (
        f"runtime.device={name} cannot be used here: {reason}; give auto, cpu, cuda or cuda:N"
    )


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:1"])
def test_devices_that_are_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.torch.cuda, "device_count", lambda: 2)
    machine.check_device(name)


def test_the_batch_size_is_the_given_one_or_suits_the_device() -> None:
    cpu, gpu = Device(CPU), Device(torch.device("cuda"))
    given = machine.prepare_device(RuntimeConfig(device="cpu", batch_size=7), GpuClaim())
    assert given.images_at_once(32 * 32) == 7
    assert cpu.images_at_once(32 * 32) == 256
    assert cpu.images_at_once(224 * 224) == 5
    assert cpu.images_at_once(10_000**2) == 1
    assert gpu.images_at_once(224 * 224) == 334


def test_memory_format() -> None:
    usual, other = (
        machine.prepare_device(RuntimeConfig(device="cpu", channels_last=last), GpuClaim())
        for last in (True, False)
    )
    assert usual == Device(CPU, torch.channels_last, None)
    assert other.memory_format is torch.contiguous_format
    assert RuntimeConfig().channels_last


def test_device_name_is_one_line() -> None:
    name = machine.device_name(CPU)
    assert name
    assert "\n" not in name


_FREED = """
import resource

import torch

from bench.config.schema import RuntimeConfig
from bench.machine.device import prepare_device
from bench.machine.share import GpuClaim

prepare_device(RuntimeConfig(device="cpu"), GpuClaim())
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.thorough
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to")
def test_the_memory_of_a_freed_tensor_is_used_again() -> None:
    """In a process of its own: it depends on what the heap has been through."""
    done = subprocess.run([sys.executable, "-c", _FREED], capture_output=True, check=True)
    faults = [int(line) for line in done.stdout.split()]
    assert len(faults) == 40
    # What small things settle in the room of the first few, the next ones do not find whole.
    assert max(faults[20:]) < 2**26 / mmap.PAGESIZE / 10
