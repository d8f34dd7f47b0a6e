"""Several processes for one training: started and joined by Lightning Fabric."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.errors import BenchError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Together:
    """The processes of a Fabric: see `methods.training.loop.Workers`."""

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


def launch(count: int, device: torch.device, work: Callable[..., None], *arguments: Any) -> None:
    """Run work(fabric, *arguments) in `count` processes and wait for them.

    On a GPU each has one of its own. `work` and `arguments` must be picklable.
    Raises BenchError when Lightning Fabric is not installed and when there are too few GPUs.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise BenchError(
            "runtime.processes needs Lightning Fabric; pip install lightning-fabric"
        ) from error
    there = torch.cuda.device_count() if device.type == "cuda" else count
    if there < count:
        raise BenchError(f"runtime.processes={count}, but {there} GPUs are there; lower it")
    fabric = Fabric(accelerator=device.type, devices=count, strategy="ddp_spawn")
    # Arguments given to Fabric itself are searched for modules, and frozen dataclasses refused.
    fabric.launch(partial(_called, work, arguments))


def _called(work: Callable[..., None], arguments: Sequence[Any], fabric: "Fabric") -> None:
    work(fabric, *arguments)
