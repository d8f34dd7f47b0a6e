import mmap
import platform
import re
import resource

import pytest
import torch

from bench import __version__
from bench.config.schema import RuntimeConfig
from bench.machine import device as machine
from models.errors import BenchError

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_arithmetic_is_repeatable() -> None:
    assert machine.prepare_device(RuntimeConfig(device="cpu")) == CPU
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark


def test_auto_is_the_best_there_is() -> None:
    found = machine.prepare_device(RuntimeConfig(device="auto"))
    assert found.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        machine.prepare_device(RuntimeConfig(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["banana", "cuda:99", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(BenchError) as error:
        machine.prepare_device(RuntimeConfig(device=name))
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


def test_batch_size_is_the_given_one_or_suits_the_device() -> None:
    assert machine.batch_size(RuntimeConfig(batch_size=7), CPU, 32 * 32) == 7
    assert machine.batch_size(RuntimeConfig(), CPU, 32 * 32) == 256
    assert machine.batch_size(RuntimeConfig(), CPU, 224 * 224) == 5
    assert machine.batch_size(RuntimeConfig(), CPU, 10_000**2) == 1
    assert machine.batch_size(RuntimeConfig(), torch.device("cuda"), 224 * 224) == 334


def test_memory_format() -> None:
    assert machine.memory_format(RuntimeConfig()) is torch.channels_last
    assert machine.memory_format(RuntimeConfig(channels_last=False)) is torch.contiguous_format


def test_peak_memory_sees_what_was_held_since_the_reset() -> None:
    machine.reset_peak_memory(CPU)
    before = machine.peak_memory_bytes(CPU)
    if before is None:
        pytest.skip("this system does not say")
    # Fresh pages: an allocator may hand out those that an earlier test has left resident.
    with mmap.mmap(-1, 64 * 2**20) as held:
        held.write(bytes(64 * 2**20))
    after = machine.peak_memory_bytes(CPU)
    assert after is not None
    assert after - before >= 60 * 2**20


def test_versions_name_the_packages_that_matter() -> None:
    versions = machine.versions()
    assert versions["quantization-bench"] == __version__
    assert versions["torch"] == torch.__version__.partition("+")[0] or versions["torch"]
    assert {"python", "torchvision", "numpy", "pillow", "hydra-core"} <= versions.keys()


def test_git_sha_is_a_commit_or_nothing() -> None:
    sha = machine.git_sha()
    assert sha is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", sha)


def test_device_name_is_one_line() -> None:
    name = machine.device_name(CPU)
    assert name
    assert "\n" not in name


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to")
def test_the_memory_of_a_freed_tensor_is_used_again() -> None:
    machine.prepare_device(RuntimeConfig(device="cpu"))
    faults = []
    for _ in range(40):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)  # 64 MiB
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    # What small things settle in the room of the first few, the next ones do not find whole.
    assert max(faults[20:]) < 2**26 / mmap.PAGESIZE / 10
