"""Which ReLUs a quantizer makes idle, and that dropping them changes no value."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.quantize.activation import ActivationQuantizer, attach
from models.quantize.fuse import fuse_relus
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

IMAGE = torch.linspace(-9, 9, 48).reshape(1, 3, 4, 4)


def quantized_relu(
    relu: nn.Module, low: float, high: float, bits: int = 3, scheme: str = "affine"
) -> nn.Sequential:
    """A network that is one ReLU and its quantizer of a given range."""
    network = nn.Sequential(relu)
    quantizer = ActivationQuantizer(bits, scheme, "tensor")
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    attach(network, "relu", {"0": quantizer})
    return network


@pytest.mark.parametrize(
    ("relu", "low", "high", "dropped"),
    [
        (nn.ReLU(), 0.0, 3.0, 1),
        (nn.ReLU(), 0.0, 100.0, 1),
        (nn.ReLU(), 0.0, 0.0, 1),  # dead on every calibration image
        (nn.ReLU(), -1.0, 3.0, 0),
        (nn.ReLU6(), 0.0, 6.0, 1),
        (nn.ReLU6(), 0.0, 6.1, 0),
        (nn.ReLU6(), -0.1, 5.0, 0),
    ],
)
def test_only_what_the_range_bounds_is_dropped(
    relu: nn.Module, low: float, high: float, dropped: int
) -> None:
    network = quantized_relu(relu, low, high)
    expected = network(IMAGE)
    assert fuse_relus(network, IMAGE) == dropped
    assert isinstance(network[0], nn.Identity) == bool(dropped)
    assert torch.equal(network(IMAGE), expected)


@settings(max_examples=100)
@given(
    high=st.floats(2**-20, 6, width=32),
    bits=st.integers(2, 16),
    scheme=st.sampled_from(["affine", "symmetric"]),
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40),
)
def test_no_value_changes(high: float, bits: int, scheme: str, values: list[float]) -> None:
    network = quantized_relu(nn.ReLU6(), 0.0, high, bits, scheme)
    given_values = torch.tensor([*values, high, 6.0, float("inf"), float("-inf")])
    expected = network(given_values)
    assert fuse_relus(network, IMAGE) == 1
    assert torch.equal(network(given_values), expected)


def test_nan_stays_nan() -> None:
    network = quantized_relu(nn.ReLU(), 0.0, 3.0)
    fuse_relus(network, IMAGE)
    assert network(torch.tensor([float("nan")])).isnan().all()


def test_an_observing_quantizer_leaves_its_relu() -> None:
    network = nn.Sequential(nn.ReLU())
    attach(network, "relu", {"0": ActivationQuantizer(3, "affine", "tensor")})
    network(IMAGE)
    assert fuse_relus(network, IMAGE) == 0


class Reread(nn.Module):
    """Reads what its ReLU read once more, which a ReLU that works in place has changed."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        return self.relu(x) + x


@pytest.mark.parametrize("inplace", [True, False])
def test_a_relu_whose_input_is_read_again_is_dropped_only_if_it_does_not_write_there(
    inplace: bool,
) -> None:
    network = quantize(Reread(inplace), QuantSpec(32, 4), IMAGE).network
    expected = network(IMAGE)
    assert fuse_relus(network, IMAGE) == (0 if inplace else 1)
    assert torch.equal(network(IMAGE), expected)


def test_an_image_with_nothing_negative_does_not_decide() -> None:
    network = quantize(Reread(inplace=True), QuantSpec(32, 4), IMAGE.abs()).network
    expected = network(IMAGE)
    assert fuse_relus(network, IMAGE.abs()) == 0
    assert torch.equal(network(IMAGE), expected)


def test_a_relu_of_several_uses_keeps_its_name_and_its_range(tiny_network: nn.Module) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    quantized = quantize(tiny_network, QuantSpec(8, 4), images).network
    names = list(quantized.state_dict())
    expected = quantized(images)
    assert fuse_relus(quantized, images[:1]) == 1
    assert list(quantized.state_dict()) == names
    assert torch.equal(quantized(images), expected)
    assert isinstance(tiny_network.get_submodule("relu"), nn.ReLU)


@pytest.mark.parametrize(("name", "relus"), [("resnet20", 19), ("mobilenetv2_cifar", 35)])
def test_every_relu_of_a_network_of_the_zoo_is_dropped(name: str, relus: int) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    quantized = quantize(entry(name).network(), QuantSpec(8, 8), images).network
    with torch.no_grad():
        expected = quantized(images)
        assert fuse_relus(quantized, images[:1]) == relus
        assert torch.equal(quantized(images), expected)
