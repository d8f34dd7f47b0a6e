"""Blocks are found from the network itself."""

import pytest
import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.layers import call_order
from models.quantize.rounding.blocks import (
    Block,
    find_blocks,
    function_of,
    inputs_and_outputs,
)
from models.quantize.rounding.segments import segments
from tests.models.quantize.rounding.networks import IMAGES, Unit, chain, residual


def blocks(network: nn.Module, image: Tensor = IMAGES[:1]) -> list[Block]:
    with torch.no_grad():
        return find_blocks(network, call_order(network, image), image)


def test_stem_units_and_head_of_a_residual_network() -> None:
    assert blocks(residual()) == [
        Block(("0.0", "0.1", "0.2"), ("0.0",)),
        Block(("1.0",), ("1.0.conv1", "1.0.conv2")),
        Block(("2.0",), ("2.0.conv1", "2.0.conv2")),  # no shortcut, but of the same class
        Block(("2.1",), ("2.1.conv1", "2.1.conv2")),
        Block(("5",), ("5",)),
    ]


def test_layers_of_a_chain_are_blocks_with_what_follows() -> None:
    assert blocks(chain()) == [
        Block(("0", "1"), ("0",)),
        Block(("2", "3"), ("2",)),
        Block(("4",), ("4",)),
    ]


class Branches(nn.Module):
    """Channels that are split, one half changed, and put together; then a sum that no module is."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(4, 4, 3, padding=1)
        self.two = nn.Conv2d(2, 2, 1)
        self.three = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.one(x).chunk(2, 1)
        y = torch.cat([left, self.two(right)], 1)
        z = self.three(y)
        z += y
        return self.head(self.act(z).mean((2, 3)))


def test_a_sum_in_place_is_not_passed_over() -> None:
    x = torch.randn(1, 4, 5, 5)
    found = blocks(Branches().eval(), x)
    # The sum comes between the third convolution and the activation.
    assert [block.modules for block in found] == [("one",), ("two",), ("three",), ("head",)]


def test_segments_by_hand() -> None:
    x, network = torch.randn(1, 4, 5, 5), Branches().eval()
    layers = {name: network.get_submodule(name) for name in ("one", "two", "three", "head")}
    with torch.no_grad():
        found = segments(network, layers, x)
    assert found["one"] < found["two"] < found["three"] < found["head"]
    unit = Unit(4, 4).eval()
    inside = {name: unit.get_submodule(name) for name in ("conv1", "conv2")}
    with torch.no_grad():
        found = segments(nn.Sequential(unit, nn.Flatten()), inside, x)
    assert found["conv1"] == found["conv2"]


class Remembering(nn.Module):
    """A unit that reads something else than its argument."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Unit(3, 3)
        self.seen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        return self.unit(x) * self.seen


def test_what_gives_something_else_by_itself_is_looked_into() -> None:
    found = blocks(nn.Sequential(Remembering(), nn.Flatten(), nn.Linear(192, 2)).eval())
    assert [block.modules for block in found] == [("0.unit",), ("2",)]


def test_inputs_and_outputs_are_those_of_the_pass() -> None:
    network = residual()
    for block in blocks(network):
        x, wanted = inputs_and_outputs(network, block, IMAGES)
        assert torch.equal(function_of(network, block)(x.clone()), wanted)
    assert torch.equal(wanted, network(IMAGES))


class Twice(nn.Module):
    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.between = nn.AvgPool2d(2) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.between(self.conv(x))).flatten(1)


def test_a_layer_that_is_called_twice_gives_both_calls() -> None:
    network = Twice(pooled=False)
    (block,) = blocks(network)
    assert block == Block(("conv",), ("conv",), 2)
    x, y = inputs_and_outputs(network, block, IMAGES)
    assert x.shape == y.shape == (48, 3, 8, 8)
    assert torch.equal(x[24:], y[:24])
    network = Twice(pooled=True)
    with pytest.raises(NotApplicable, match="'conv' is called on tensors of several shapes"):
        inputs_and_outputs(network, *blocks(network), IMAGES)
