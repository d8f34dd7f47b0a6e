"""Activation quantizers: what they observe, and what stays after they are frozen."""

import pytest
import torch
from torch import nn

from models.quantize.activation import ActivationQuantizer, attach, sites_of, weighted_layers


def put(network: nn.Module, sites: str) -> dict[str, ActivationQuantizer]:
    """Attach a 2-bit quantizer at each site of `network`."""
    names = sites_of(network, sites)
    quantizers = {name: ActivationQuantizer(2, "affine", "tensor") for name in names}
    attach(network, sites, quantizers)
    return quantizers


def limits(quantizer: ActivationQuantizer) -> list[float]:
    return [quantizer.low.item(), quantizer.high.item()]


def test_range_starts_at_zero_and_only_grows() -> None:
    quantizer = ActivationQuantizer(8, "affine", "tensor")
    seen = []
    for values in ([2.0, 5.0], [-1.0, 1.0], [0.0, 0.5], [-3.0, 6.0]):
        quantizer(torch.tensor(values))
        seen.append(limits(quantizer))
    assert seen == [[0, 5], [-1, 5], [-1, 5], [-3, 6]]
    negative = ActivationQuantizer(8, "affine", "tensor")
    negative(torch.tensor([-4.0, -2.0]))
    assert limits(negative) == [-4, 0]


def test_what_is_observed_is_quantized_with_the_range_it_widens() -> None:
    quantizer = ActivationQuantizer(2, "affine", "tensor")  # levels 0, 1, 2, 3
    assert quantizer(torch.tensor([0.4, 1.4, 3.0])).tolist() == [0, 1, 3]
    assert quantizer(torch.tensor([1.4, 6.0])).tolist() == [2, 6]  # now 0, 2, 4, 6


def test_frozen_range_clips() -> None:
    quantizer = ActivationQuantizer(2, "affine", "tensor")
    quantizer(torch.tensor([0.0, 3.0]))
    quantizer.freeze()
    assert quantizer(torch.tensor([-5.0, 1.2, 50.0])).tolist() == [0, 1, 3]
    assert limits(quantizer) == [0, 3]


def test_given_range_is_kept_and_contains_zero() -> None:
    quantizer = ActivationQuantizer(2, "affine", "tensor")
    quantizer.set_range(torch.tensor(-3.0), torch.tensor(6.0))
    assert quantizer(torch.tensor([-9.0, 1.0, 9.0])).tolist() == [-3, 0, 6]
    quantizer.set_range(torch.tensor(1.0), torch.tensor(3.0))
    assert limits(quantizer) == [0, 3]
    quantizer.set_range(torch.tensor(-3.0), torch.tensor(-1.0))
    assert limits(quantizer) == [-3, 0]
    quantizer(torch.tensor([50.0]))
    assert limits(quantizer) == [-3, 0]


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_dead_relu_stays_dead(scheme: str, bits: int) -> None:
    quantizer = ActivationQuantizer(bits, scheme, "tensor")
    assert quantizer(torch.zeros(2, 3)).tolist() == [[0] * 3] * 2
    quantizer.freeze()
    assert quantizer(torch.tensor([0.0, 1.0, 1e6])).abs().max() <= 1e-8


def test_dead_channel_beside_a_living_one() -> None:
    quantizer = ActivationQuantizer(4, "affine", "channel")
    x = torch.zeros(2, 2, 3, 3)
    x[:, 1] = torch.linspace(0, 15, 9).view(3, 3)
    quantizer(x)
    quantizer.freeze()
    found = quantizer(torch.full((1, 2, 1, 1), 7.0)).flatten()
    assert found[0].abs() <= 1e-8
    assert found[1] == 7


def test_symmetric_uses_every_level_after_a_relu() -> None:
    after_relu = ActivationQuantizer(2, "symmetric", "tensor")
    signed = ActivationQuantizer(2, "symmetric", "tensor")
    x = torch.linspace(0, 3, 50)
    assert after_relu(x).unique().tolist() == [0, 1, 2, 3]
    assert signed(torch.cat([x, -x])).unique().tolist() == [-3, 0, 3]


def test_ranges_by_channel() -> None:
    quantizer = ActivationQuantizer(8, "affine", "channel")
    x = torch.tensor([[1.0, 20.0], [3.0, -5.0]]).view(2, 2, 1, 1)
    quantizer(x)
    assert quantizer.low.flatten().tolist() == [0, -5]
    assert quantizer.high.flatten().tolist() == [3, 20]


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_state_survives_a_state_dict(granularity: str) -> None:
    quantizer = ActivationQuantizer(3, "affine", granularity)
    quantizer(torch.randn(2, 3, 4, 4))
    names = ["low", "high", "inverse_scale", "zero_point", "q_min", "q_max", "steps", "top"]
    assert list(quantizer.state_dict()) == names
    assert all(not p.requires_grad for p in quantizer.state_dict().values())


def test_weighted_layers_in_order() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    assert list(weighted_layers(network)) == ["0", "3"]


@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_relu_outputs(relu: type[nn.Module]) -> None:
    network = nn.Sequential(relu(), nn.Identity())
    quantizers = put(network, "relu")
    assert list(quantizers) == ["0"]
    assert network(torch.tensor([-1.0, 0.6, 3.0])).tolist() == [0, 1, 3]


def test_layer_inputs() -> None:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    quantizers = put(nn.Sequential(layer), "all")
    assert list(quantizers) == ["0"]
    assert layer(torch.tensor([[3.0, 1.4]])).item() == 3 + 1
