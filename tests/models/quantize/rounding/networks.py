"""Small networks with blocks of each kind."""

import torch
from torch import Tensor, nn


class Unit(nn.Module):
    """Two convolutions, with a shortcut where the number of channels stays."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.shortcut = before == channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.relu(self.bn1(self.conv1(x))))
        if self.shortcut:
            y += x
        return self.relu2(y)


def residual() -> nn.Sequential:
    """A stem, a stage of one unit, a stage of two of which one has no shortcut, and a head."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        nn.Sequential(Unit(4, 4)),
        nn.Sequential(Unit(4, 6), Unit(6, 6)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.running_mean, 0, 0.2)  # type: ignore[arg-type]
    return network.eval().requires_grad_(False)


def chain() -> nn.Sequential:
    """Layers one after the other."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 3)]
    return nn.Sequential(*layers, nn.Flatten()).eval().requires_grad_(False)


IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.5
