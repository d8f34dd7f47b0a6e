"""Bias correction by hand, and the response of a layer to constant channels."""

import copy

import pytest
import torch
from torch import nn

from models.quantize.bias import add_to_bias, correct_bias, response


def test_linear_layer_by_hand() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False)).requires_grad_(False)
    network[0].weight.copy_(torch.tensor([[1.25, -0.5], [3.0, 2.0]]))  # type: ignore[operator]
    network[0].bias.copy_(torch.tensor([1.0, 1.0]))  # type: ignore[operator]
    network[1].weight.copy_(torch.tensor([[0.5, 0.5]]))  # type: ignore[operator]
    quantized = copy.deepcopy(network)
    quantized[0].weight.copy_(torch.tensor([[1.0, -1.0], [3.0, 2.0]]))  # type: ignore[operator]
    quantized[1].weight.copy_(torch.tensor([[1.0, 0.0]]))  # type: ignore[operator]
    correct_bias(quantized, network, {"0": torch.tensor([2.0, 1.0])})
    # eps E[x] = -0.25 * 2 - 0.5 * 1 = -1
    assert quantized[0].bias.tolist() == [2, 1]  # type: ignore[operator]
    assert quantized[1].bias is None  # no mean is known
    correct_bias(quantized, network, {"1": torch.tensor([2.0, 4.0])})
    assert quantized[1].bias.tolist() == [1.0]  # type: ignore[operator]
    assert network[1].bias is None


def test_mean_output_is_restored() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 4)).requires_grad_(False)
    quantized = copy.deepcopy(network)
    quantized[0].weight.copy_(network[0].weight.round(decimals=1))  # type: ignore[operator]
    x = torch.rand(50, 8)
    correct_bias(quantized, network, {"0": x.mean(0)})
    assert torch.allclose(quantized(x).mean(0), network(x).mean(0), atol=1e-6)
    assert not torch.allclose(quantized(x), network(x), atol=1e-3)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_response_is_what_a_convolution_gives_inside(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 12, 3, groups=groups, bias=False)
    x = torch.randn(6)
    wanted = layer(x.view(1, 6, 1, 1).expand(1, 6, 3, 3)).flatten()
    assert torch.allclose(response(layer, layer.weight, x), wanted, atol=1e-5)


def test_bias_that_is_not_there_is_made() -> None:
    layer = nn.Linear(2, 3, bias=False)
    add_to_bias(layer, torch.tensor([1.0, 2.0, 3.0]))
    add_to_bias(layer, torch.ones(3))
    assert layer.bias.tolist() == [2, 3, 4]
    assert not layer.bias.requires_grad
