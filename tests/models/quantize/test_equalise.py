"""Equalisation and absorption: what they change, and that the network computes the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from models.quantize.equalise import (
    BoundedReLU,
    Pair,
    absorb_bias,
    equalise,
    find_pairs,
    input_ranges,
    output_ranges,
    replace_relu6,
)
from models.quantize.moments import Normal

PAIR = Pair("0", "2", "1")


def two_channels(activation: nn.Module) -> nn.Sequential:
    """1 x 1 convolutions of 1 to 2 channels, weights 4 and 1, and to 1 channel, 1 and 4."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), activation, nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([4.0, 1.0]).view(2, 1, 1, 1))  # type: ignore[operator]
        network[0].bias.copy_(torch.tensor([8.0, -1.0]))  # type: ignore[operator]
        network[2].weight.copy_(torch.tensor([1.0, 4.0]).view(1, 2, 1, 1))  # type: ignore[operator]
        network[2].bias.fill_(0.5)  # type: ignore[operator]
    return network.eval().requires_grad_(False)


def values(tensor: object) -> list[float]:
    assert isinstance(tensor, Tensor)
    return tensor.flatten().tolist()


def test_two_channels_by_hand() -> None:
    network = two_channels(nn.ReLU())
    x = torch.linspace(-5, 5, 21).view(1, 1, 3, 7)
    before = network(x)
    pairs = find_pairs(network, x)
    assert pairs == [PAIR]
    outputs = {"0": Normal(torch.tensor([6.0, 3.0]), torch.tensor([1.0, 2.0]))}
    scaled = equalise(network, pairs, outputs)
    # s = sqrt(4 / 1) = 2 and sqrt(1 / 4) = 1/2
    assert values(network[0].weight) == values(network[2].weight) == [2, 2]
    assert values(network[0].bias) == [4, -2]
    assert values(network[2].bias) == [0.5]
    assert values(scaled["0"].mean) == [3, 6]
    assert values(scaled["0"].deviation) == [0.5, 4]
    assert values(outputs["0"].mean) == [6, 3]
    assert torch.equal(network(x), before)


def test_relu6_gets_a_bound_a_channel() -> None:
    network = two_channels(nn.ReLU6())
    x = torch.linspace(-20, 20, 21).view(1, 1, 3, 7)  # both channels reach 6
    before = network(x)
    equalise(network, find_pairs(network, x), {})
    assert isinstance(network[1], BoundedReLU)
    assert values(network[1].bound) == [3, 12]
    assert torch.equal(network(x), before)


def test_replaced_relu6_has_no_bound_and_stays_shared() -> None:
    relu6 = nn.ReLU6()
    network = nn.ModuleDict({"a": relu6, "b": nn.Sequential(relu6), "c": nn.Identity()})
    replace_relu6(network)
    assert isinstance(network["a"], nn.ReLU)
    assert network["a"] is network["b"][0]  # type: ignore[index]
    assert network["a"](torch.tensor([-1.0, 9.0])).tolist() == [0, 9]


def test_chain_with_a_depthwise_layer_ends_with_the_same_range_everywhere() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 1, bias=False),
    ).requires_grad_(False)
    network[2].weight.mul_(torch.tensor([100.0, 1, 0.01, 3]).view(4, 1, 1, 1))  # type: ignore[operator]
    x = torch.randn(2, 3, 6, 6)
    before = network(x)
    ranges = [output_ranges(network[0]), output_ranges(network[2]), input_ranges(network[4])]  # type: ignore[arg-type]
    wanted = torch.stack(ranges).log().mean(0).exp()  # the fixed point: their geometric mean
    pairs = find_pairs(network, x)
    assert pairs == [Pair("0", "2", "1"), Pair("2", "4", "3")]
    equalise(network, pairs, {})
    for found in (
        output_ranges(network[0]),  # type: ignore[arg-type]
        output_ranges(network[2]),  # type: ignore[arg-type]
        input_ranges(network[4]),  # type: ignore[arg-type]
    ):
        assert torch.allclose(found, wanted, rtol=1e-3)
    assert torch.allclose(network(x), before, rtol=1e-4, atol=1e-5)


def test_input_ranges_of_a_grouped_layer() -> None:
    layer = nn.Conv2d(4, 4, 1, groups=2)
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-7.0, 0.0], [4.0, 5.0]])
    layer.weight = nn.Parameter(weight.view(4, 2, 1, 1))
    assert input_ranges(layer).tolist() == [3, 2, 7, 5]
    assert output_ranges(layer).tolist() == [2, 3, 7, 5]


def test_channel_without_weights_is_left() -> None:
    network = two_channels(nn.ReLU())
    network[2].weight[0, 1] = 0  # type: ignore[index]
    equalise(network, [PAIR], {})
    assert values(network[0].weight) == [2, 1]
    assert values(network[2].weight) == [2, 0]


class Residual(nn.Module):
    """a, ReLU, then b, ReLU, c with a skip connection around them, then d.

    in_place: whether what flows along the skip is changed in place by the addition.
    """

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.relu_a, self.relu_b = nn.ReLU(), nn.ReLU()
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        skip = self.relu_a(self.a(x))
        branch = self.c(self.relu_b(self.b(skip)))
        if self.in_place:
            branch += skip
            return self.d(branch)
        return self.d(branch + skip)


@pytest.mark.parametrize("in_place", [False, True])
def test_tensor_of_a_skip_connection_is_left(in_place: bool) -> None:
    torch.manual_seed(1)
    network = Residual(in_place).eval().requires_grad_(False)
    untouched = copy.deepcopy(network)
    x = torch.randn(2, 3, 4, 4)
    before = network(x)
    pairs = find_pairs(network, x)
    # a-b is shared with the skip, and what c gives is not all that d reads
    assert pairs == [Pair("b", "c", "relu_b")]
    before_and_after = zip(untouched.parameters(), network.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in before_and_after)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    equalise(network, pairs, {})
    assert torch.allclose(output_ranges(network.b), input_ranges(network.c), rtol=1e-4)
    assert torch.equal(network.a.weight, untouched.a.weight)
    assert torch.allclose(network(x), before, atol=1e-6)


class Shared(nn.Module):
    """One activation module behind two layers, one of which is called twice."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.twice = (nn.Linear(3, 3) for _ in range(3))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.activation(self.a(x)))
        return self.twice(self.activation(self.twice(x)))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()])
def test_shared_modules(activation: nn.Module) -> None:
    torch.manual_seed(2)
    found = find_pairs(Shared(activation).eval(), torch.randn(2, 3))
    # one bound a channel cannot serve two places
    assert found == ([Pair("a", "b", "activation")] if isinstance(activation, nn.ReLU) else [])


def test_absorption_by_hand() -> None:
    network = two_channels(nn.ReLU())
    outputs = {"0": Normal(torch.tensor([8.0, -1.0]), torch.tensor([2.0, 1.0]))}
    found = absorb_bias(network, [PAIR], outputs)
    # c = max(0, 8 - 6) = 2 and max(0, -1 - 3) = 0
    assert values(network[0].bias) == [6, -1]
    assert values(network[2].bias) == [0.5 + 2]
    assert values(found["0"].mean) == [6, -1]
    assert values(found["0"].deviation) == [2, 1]
    x = torch.tensor([-1.5, -1.0, 0.0, 3.0]).view(4, 1, 1, 1)  # the first channel is 2, 4, 8, 20
    assert torch.equal(network(x), two_channels(nn.ReLU())(x))
    below = torch.full((1, 1, 1, 1), -1.75)  # it is 1, less than c
    assert network(below).item() - two_channels(nn.ReLU())(below).item() == 1


def test_absorption_takes_no_more_than_the_bound() -> None:
    network = two_channels(BoundedReLU(torch.tensor([5.0, 50.0])))
    outputs = {"0": Normal(torch.tensor([8.0, 40.0]), torch.tensor([0.5, 10.0]))}
    absorb_bias(network, [PAIR], outputs)  # c = min(6.5, 5) = 5, and 10
    assert isinstance(network[1], BoundedReLU)
    assert values(network[1].bound) == [0, 40]
    assert values(network[0].bias) == [3, -11]
    assert values(network[2].bias) == [0.5 + 5 + 40]


def test_absorption_needs_a_relu_and_statistics() -> None:
    network = two_channels(nn.ReLU())
    normal = Normal(torch.tensor([9.0, 9.0]), torch.ones(2))
    assert absorb_bias(network, [Pair("0", "2", None)], {"0": normal}) == {"0": normal}
    assert absorb_bias(network, [PAIR], {}) == {}
    assert values(network[0].bias) == [8, -1]
