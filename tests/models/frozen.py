"""A network as torchvision's detectors have theirs: BatchNorm is frozen."""

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d


def frozen_network(eps: float) -> nn.Sequential:
    """(N, 3, 8, 8) to (N, 5): two convolutions, each with a FrozenBatchNorm2d behind it."""
    generator = torch.Generator().manual_seed(0)
    norms = [FrozenBatchNorm2d(width, eps=eps) for width in (4, 6)]
    for norm in norms:
        for name, low in (
            ("weight", 0.5),
            ("bias", -1),
            ("running_mean", -1),
            ("running_var", 0.1),
        ):
            getattr(norm, name).uniform_(low, 2, generator=generator)
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 6, 3, bias=False)
    features = convs[0], norms[0], nn.ReLU(), convs[1], norms[1], nn.ReLU()
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(96, 5)).eval()
