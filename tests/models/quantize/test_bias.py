"""Bias correction by hand, and the response of a layer to constant channels."""

import copy

import pytest
import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.bias import add_to_bias, correct_bias, correct_bias_on, mean_inputs, response
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec


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


class Repeated(nn.Module):
    """A padded and strided convolution, one that is called twice, and a linear layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode="reflect")
        self.twice = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.last = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.first(x).relu())
        x = self.twice(x.relu() - 1)
        return self.last(x.flatten(2).mT)  # (N, pixels, channels)


def test_mean_outputs_on_images_are_restored_padding_included() -> None:
    torch.manual_seed(0)
    network = Repeated().requires_grad_(False)
    quantized = copy.deepcopy(network)
    for parameter in (quantized.first.weight, quantized.twice.weight, quantized.last.weight):
        parameter.copy_(parameter.round(decimals=1))
    images = torch.randn(70, 3, 9, 9) + 1  # more than one batch
    correct_bias_on(images, quantized, network)
    inputs: dict[str, list[Tensor]] = {"first": [], "twice": [], "last": []}
    for name, values in inputs.items():
        module = network.get_submodule(name)
        module.register_forward_pre_hook(lambda _, args, values=values: values.append(args[0]))
    network(images)
    for name, values in inputs.items():
        ours, floats = (
            torch.cat([net.get_submodule(name)(x) for x in list(values)])
            for net in (quantized, network)
        )
        channels = -1 if name == "last" else 1
        error = (ours - floats).movedim(channels, 0).flatten(1)
        assert error.abs().max() > 0.01
        assert torch.allclose(error.mean(1), torch.zeros(len(error)), atol=1e-5), name


def test_mean_inputs_are_of_each_call() -> None:
    network = Repeated().requires_grad_(False)
    images = torch.randn(40, 3, 9, 9)
    inputs = mean_inputs(network, images)
    assert {name: [tuple(x.shape) for x in calls] for name, calls in inputs.items()} == {
        "first": [(1, 3, 9, 9)],
        "twice": [(1, 6, 5, 5)] * 2,
        "last": [(1, 25, 6)],
    }
    assert torch.allclose(inputs["first"][0], images.mean(0, keepdim=True), atol=1e-6)


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


def test_without_data_the_means_are_those_of_batchnorm() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)]
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    network[1].running_mean.copy_(torch.randn(6))  # type: ignore[operator]
    network[1].bias.copy_(torch.linspace(-2, 2, 6))  # type: ignore[operator]
    spec = QuantSpec(2, 32, bias_correction="data_free")
    images = torch.randn(8, 3, 9, 9)
    quantized = quantize(network, spec, images).network
    error = (quantized[3].weight - network[3].weight).flatten(1)  # type: ignore[index,union-attr,operator]
    # The mean of a rectified normal with the mean beta and the deviation 1, in closed form.
    beta = network[1].bias
    normal = torch.distributions.Normal(0, 1)
    means = beta * normal.cdf(beta) + normal.log_prob(beta).exp()  # type: ignore[arg-type,operator]
    shift = quantized[3].bias - network[3].bias  # type: ignore[index,union-attr,operator]
    assert error.abs().max() > 0.05
    assert torch.allclose(shift, -(error @ means), atol=2e-3)
    with pytest.raises(NotApplicable, match="no BatchNorm reads a convolution's output"):
        quantize(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval(), spec, images)
