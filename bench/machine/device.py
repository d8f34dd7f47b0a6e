"""The device that a cell runs on."""

import ctypes
import logging
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from bench.config.schema import RuntimeConfig
from bench.machine.share import GpuClaim, cpu_threads
from models.errors import BenchError, first_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Where the networks of a command run, and how images lie there.

    batch_size: of images, as asked for; None to choose one that suits their size.
    """

    device: torch.device
    memory_format: torch.memory_format = torch.channels_last
    batch_size: int | None = None

    def images_at_once(self, image_pixels: int) -> int:
        """Return how many images of `image_pixels` (height x width) to evaluate at once.

        On a CPU so few that activations stay near the caches: more is slower, and takes gigabytes.
        """
        if self.batch_size is not None:
            return self.batch_size
        return max(1, (2**24 if self.device.type == "cuda" else 2**18) // image_pixels)


def prepare_device(runtime: RuntimeConfig, gpus: GpuClaim) -> Device:
    """Make the arithmetic repeatable and return the device to use.

    gpus: takes one of several GPUs for this process, and holds it, where runtime.device is auto.

    Float32 means float32: TF32 is off unless it is asked for. The CPU threads are those asked for,
    else those that a scheduler has given this process, else PyTorch's choice. Raises BenchError for
    a device that is not there, or has no TF32 where it was asked for.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = runtime.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = runtime.precision == "tf32"
    _keep_freed_memory()
    threads = runtime.threads or cpu_threads(os.environ)
    if threads is not None:
        torch.set_num_threads(threads)
    check_device(runtime.device)
    device = torch.device(
        _best_device(runtime, gpus) if runtime.device == "auto" else runtime.device
    )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(runtime.device, first_line(error)) from error
    if runtime.precision == "tf32" and not _has_tf32(device):
        raise BenchError(
            f"runtime.precision=tf32: {device_name(device)} has none; give a GPU of compute "
            "capability 8.0 or above, or fp32"
        )
    if runtime.precision == "bf16" and device.type == "cpu" and not _has_bf16():
        _say_that_bf16_is_slow()
    if device.type == "cuda":  # CPU kernels are deterministic, and this imports for two seconds
        torch.use_deterministic_algorithms(True, warn_only=True)
        if device.index is not None:  # streams and events belong to the current device
            torch.cuda.set_device(device)
    layout = torch.channels_last if runtime.channels_last else torch.contiguous_format
    return Device(device, layout, runtime.batch_size)


def check_device(name: str) -> None:
    """Raise BenchError for a `runtime.device` that is none, or not there; no device is touched."""
    if name == "auto":
        return
    try:
        device = torch.device(name)
    except RuntimeError as error:  # it lists every type of device that PyTorch knows
        raise _unusable(name, "there is no such device") from error
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise _unusable(name, f"PyTorch sees {gpus or 'no'} GPU{'s' if gpus > 1 else ''}")


def _unusable(name: str, reason: str) -> BenchError:
    return BenchError(
        f"runtime.device={name} cannot be used here: {reason}; give auto, cpu, cuda or cuda:N"
    )


def _best_device(runtime: RuntimeConfig, gpus: GpuClaim) -> str:
    """Return a GPU, where there are several one of this process's own, or else the CPU.

    A training that several processes share takes its GPUs from the first one on.
    """
    if not torch.cuda.is_available():
        return "cpu"
    count = torch.cuda.device_count()
    return f"cuda:{gpus.index(count)}" if count > 1 and runtime.processes == 1 else "cuda"


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _has_bf16() -> bool:
    """Return whether the processor has instructions of 512 bits, if it is one of x86.

    Without them PyTorch emulates bfloat16, one number after the other.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not is_x86 or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


@cache
def _say_that_bf16_is_slow() -> None:
    log.warning(
        "warning: runtime.precision=bf16: this processor has no bfloat16, and PyTorch emulates it, "
        "many times as slow as fp32; leave it out"
    )


# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_INT_MAX = 2**31 - 1


@cache
def _keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors instead of returning it to the kernel.

    glibc gives each block above 32 MiB back at once, and the next tensor of that size is mapped,
    and zeroed by the kernel, page by page: a third of the time of a distillation step. Another
    C library is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _INT_MAX)


def device_name(device: torch.device) -> str:
    """Return the maker's name of the device, such as a processor model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    model = next((line for line in lines if line.startswith("model name")), None)
    return model.split(":", 1)[1].strip() if model else platform.machine()
