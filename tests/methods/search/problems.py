"""Searches that are small enough to know their best answer."""

import torch
from torch import nn

from methods.search.base import Problem
from methods.search.finetune import Labelled
from models.quantize.latency import LatencyTable
from models.quantize.layers import special_layers
from models.quantize.prices import prices_of
from models.quantize.spec import QuantSpec


class Small(nn.Module):
    """(N, 3, 8, 8) to (N, 4): two convolutions and a classifier with random weights."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)
        for parameter in self.parameters():
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        return self.last(x.mean((2, 3)))


def problem(
    network: nn.Module,
    spec: QuantSpec,
    seed: int = 0,
    count: int = 128,
    table: LatencyTable | None = None,
) -> Problem:
    """Return the search of bits for a network whose float form is always right."""
    images = torch.randn(count + 16, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    labels = network(images).argmax(1)
    image = images[:1]
    return Problem(
        network=network,
        spec=spec,
        images=images[:16],
        held_out=Labelled(images[16:], labels[16:]),
        tuning=Labelled(images[16:80], labels[16:80]),
        prices=prices_of(network, spec, image, table),
        special=special_layers(network, spec, image),
        generator=torch.Generator().manual_seed(seed),
    )
