import pytest
import torch
from torch import nn

from models.quantize.activation import ActivationQuantizer, attach
from models.quantize.clipping import clipped_energy


def test_the_share_of_the_energy_by_hand() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())
    quantizers = {name: ActivationQuantizer(8, "affine", "tensor") for name in "012"}
    attach(network, "relu", quantizers)
    for quantizer, high in zip(quantizers.values(), (6.0, 3.0, 9.0), strict=True):
        quantizer.set_range(torch.tensor(0.0), torch.tensor(high))
    images = torch.tensor([[6.0], [2.0], [-5.0]])
    lost = clipped_energy(network, quantizers, images)
    assert lost == pytest.approx({"0": 0, "1": 100 * 9 / 40, "2": 0}, rel=0.01)


def test_of_channels_and_of_nothing() -> None:
    network = nn.Sequential(nn.ReLU())
    quantizers = {"0": ActivationQuantizer(8, "affine", "channel")}
    attach(network, "relu", quantizers)
    high = torch.tensor([1.0, 9.0]).view(1, 2, 1, 1)
    quantizers["0"].set_range(torch.zeros_like(high), high)
    images = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert clipped_energy(network, quantizers, images) == {"0": 100 * 4 / 25}
    assert clipped_energy(network, quantizers, -images) == {"0": 0}
    assert clipped_energy(network, {}, images) == {}
