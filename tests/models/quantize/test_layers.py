"""Which layers are quantized, in what order, and to what."""

import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.layers import (
    bits_of_weights,
    call_order,
    each_weight_once,
    layers_to_quantize,
    special_layers,
    weight_formats,
)
from models.quantize.ranges import WeightFormat
from models.quantize.spec import QuantSpec

IMAGE = torch.zeros(1, 3, 8, 8)


class Backwards(nn.Module):
    """Three layers that are called in another order than that of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.tail = nn.Conv2d(4, 4, 1)
        self.stem = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tail(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


def test_the_first_and_the_last_are_those_that_are_called_so() -> None:
    network = Backwards()
    assert call_order(network, IMAGE) == ["stem", "tail", "head"]
    assert special_layers(network, QuantSpec(4, 4), IMAGE) == {}
    spec = QuantSpec(4, 4, first_bits=8, last_bits=32)
    special = special_layers(network, spec, IMAGE)
    assert special == {"stem": 8, "head": 32}
    bits = bits_of_weights(network, spec, special, {"tail": 2})
    assert bits == {"head": 32, "tail": 2, "stem": 8}
    formats = weight_formats(bits, QuantSpec(4, 4, w_range="mse", w_scheme="symmetric"))
    assert formats == {
        "tail": WeightFormat(2, "symmetric", "channel", "mse"),
        "stem": WeightFormat(8, "symmetric", "channel", "mse"),
    }


def test_bits_of_channels_are_at_most_those_of_the_format() -> None:
    (found,) = weight_formats({"a": (2, 4, 0)}, QuantSpec("mixed", 8)).values()
    assert (found.bits, found.channel_bits) == (4, (2, 4, 0))


def test_a_weight_that_two_layers_share_is_of_the_first() -> None:
    network = Backwards()
    network.tail.weight = nn.Parameter(torch.zeros(4, 4, 1, 1))
    other = nn.Conv2d(4, 4, 1)
    other.weight = network.tail.weight
    network.add_module("other", other)
    formats = weight_formats({"other": 4, "head": 4, "tail": 4}, QuantSpec(4, 4))
    assert list(each_weight_once(network, formats)) == ["other", "head"]
    with pytest.raises(BenchError, match="'other' shares its weight with another"):
        bits_of_weights(network, QuantSpec(4, 4), {}, {"other": 3})


def test_bits_that_nobody_has_chosen() -> None:
    chosen = {"stem": 4, "tail": 4}
    with pytest.raises(BenchError, match=r"quant\.w_bits=mixed: the bits of the layer 'head'"):
        bits_of_weights(Backwards(), QuantSpec("mixed", 8), {}, chosen)


def test_nothing_to_quantize() -> None:
    with pytest.raises(NotApplicable, match=r"no nn\.Conv2d or nn\.Linear layer"):
        layers_to_quantize(nn.Sequential(nn.ReLU()))
    assert bits_of_weights(nn.Sequential(nn.ReLU()), QuantSpec(32, 8), {}, {}) == {}
