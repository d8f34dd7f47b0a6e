"""Several processes for one training: started and joined by Lightning Fabric."""

import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException

from bench.machine.children import child_environment, environment
from models.errors import BenchError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|\d+\.\d+\.\d+\.\d+):\d+")


class Place(NamedTuple):
    """This machine among those of one training, from 0, and where their processes meet.

    port: None for one that is free, on one machine.
    """

    machine: int = 0
    machines: int = 1
    host: str = "127.0.0.1"
    port: int | None = None


ALONE = Place()


class Together:
    """The processes of a Fabric: see `methods.training.surroundings.Workers`."""

    def __init__(self, fabric: "Fabric") -> None:
        self.fabric = fabric
        self.rank = fabric.global_rank
        self.count = fabric.world_size

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors` by its mean over the processes; they share one message."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        mean: Any = self.fabric.all_reduce(flat, reduce_op="mean")
        parts = mean.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def share(self, value: bytes | None) -> bytes | None:
        return self.fabric.broadcast(value)


def launch(
    count: int,
    device: torch.device,
    work: Callable[..., None],
    *arguments: Any,
    place: Place = ALONE,
) -> None:
    """Run work(fabric, *arguments) in `count` processes of this machine and wait for them.

    On a GPU each has one of its own; CPU threads are divided. `work` and `arguments` must be
    picklable. Raises BenchError when one of the processes fails, and as `check_processes`.
    """
    check_processes(count, device)
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    before = set(multiprocessing.active_children())
    # Of its own accord Fabric would take the tasks of a Slurm job for the processes.
    with environment(_variables(place, count) | child_environment()):
        fabric = Fabric(
            accelerator=device.type,
            devices=count,
            num_nodes=place.machines,
            strategy="ddp_spawn",
            plugins=[LightningEnvironment()],
        )
        try:
            # Arguments given to Fabric itself are searched for modules, and frozen dataclasses
            # refused.
            fabric.launch(partial(_called, work, arguments))
        except ProcessException as error:
            text = _ADDRESS.sub("a peer", str(error))  # no addresses in records
            raise BenchError(_last_line(text)) from RuntimeError(text)
        except BaseException:  # an interrupt, a time limit: Fabric leaves its processes alone
            for child in set(multiprocessing.active_children()) - before:
                child.kill()
                child.join()
            raise


def check_processes(count: int, device: torch.device) -> None:
    """Raise BenchError when Lightning Fabric is not installed, or this machine has too few GPUs."""
    if find_spec("lightning_fabric") is None:
        raise BenchError(
            "runtime.processes needs Lightning Fabric; pip install "
            "'quantization-bench[distributed]'"
        )
    there = torch.cuda.device_count() if device.type == "cuda" else count
    if there < count:
        raise BenchError(f"runtime.processes={count}, but {there} GPUs are there; lower it")


def _called(work: Callable[..., None], arguments: Sequence[Any], fabric: "Fabric") -> None:
    work(fabric, *arguments)


def _variables(place: Place, count: int) -> dict[str, str | None]:
    """Return what Fabric and PyTorch read in the environment of the processes."""
    threads = max(1, torch.get_num_threads() // count)
    return {
        "NODE_RANK": str(place.machine),
        "MASTER_ADDR": place.host,
        "MASTER_PORT": None if place.port is None else str(place.port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    }


def _last_line(traceback: str) -> str:
    last = traceback.strip().splitlines()[-1]
    return last.removeprefix(f"{BenchError.__module__}.{BenchError.__name__}: ")
