"""Where ratios are measured, and the networks that they are measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.config.schema import RuntimeConfig
from bench.machine.device import Device
from bench.measure.resources import Resources
from bench.speed.ratio import Ratio
from methods.distillation.batchnorm import batchnorms, running_statistics
from models.zoo import entry


@dataclass(frozen=True)
class Workplace:
    """The device, how cells are run on it, and an empty folder for the cells' outputs.

    resources: what the cells share.
    """

    runtime: RuntimeConfig
    device: Device
    outputs: Path
    resources: Resources

    def network(self, name: str) -> nn.Module:
        """Return a frozen network of the zoo with random weights, the same ones each time.

        How long it takes does not depend on the weights, as long as they are of ordinary size: its
        running statistics are near those of a trained network.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = entry(name).network()
            for layer in batchnorms(network):
                mean, variance = running_statistics(layer)
                mean.normal_(0, 0.1)
                variance.uniform_(0.5, 1.5)
        network = network.eval().requires_grad_(False)
        return network.to(memory_format=self.device.memory_format).to(self.device.device)

    def noise(self, count: int, size: int) -> Tensor:
        """Return (count, 3, size, size) of N(0, 1), the same each time."""
        noise = torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(0))
        return noise.to(self.device.device, memory_format=self.device.memory_format)


class Measure(NamedTuple):
    """A way to one or a few ratios that are measured together. title: for the one who waits."""

    title: str
    take: Callable[[Workplace], list[Ratio]]
