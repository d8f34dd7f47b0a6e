"""BatchNorm over the images of several processes, so that they compute what one process does."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch, in training mode, is that of all processes together.

    As nn.SyncBatchNorm, which has no CPU version: every process must have as many images.
    Raises RuntimeError in training mode outside a process group.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        processes = dist.get_world_size()
        count = input.numel() // input.shape[1] * processes
        values = input.float()  # under autocast 8 bits of a mantissa are too few for a sum
        mean = _sum_of_all(values.sum(dim=(0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _sum_of_all(centred.square().sum(dim=(0, 2, 3))) / count
        self._note(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # A tensor where the mean is cumulative: reading the count would wait for the device.
        factor: Any = self.momentum
        if factor is None:
            factor = 1 / self.num_batches_tracked
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance * count / (count - 1), factor)


def synced(network: nn.Module) -> nn.Module:
    """Let every BatchNorm2d of `network` see the images of all processes; return `network`."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d
    return network


def _sum_of_all(values: Tensor) -> Tensor:
    """Return the sum of `values` over the processes; so is its gradient."""
    total: Tensor = _Sum.apply(values)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
