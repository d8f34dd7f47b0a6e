"""What networks cost, worked out by hand."""

from math import log2

import pytest
import torch
from torch import nn

from models.networks.resnet_cifar import resnet20
from models.quantize.activation import weighted_layers
from models.quantize.cost import Cost, cost
from models.quantize.counting import count, weights_at
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from tests.models.quantize.test_coverage import BODY, HEAD, STEM, Network

MIB_BITS = 8 * 2**20
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def of(network: nn.Module, spec: QuantSpec, images: torch.Tensor = IMAGES) -> Cost:
    made = quantize(network, spec, images)
    assert made.weight_bits is not None
    bits = {quantizer: quantizer.bits for quantizer in made.quantizers.values()}
    weights = weights_at(made.network, made.weight_bits)
    return cost(count(made.network, weights, bits, images[:1]).products)


def test_every_input_quantized() -> None:
    found = of(Network(), QuantSpec(4, 3, sites="all", last_bits=8))
    # The image, what the ReLU gives, the mean.
    maps = (3 * 64 * 3, 8 * 64 * 3, 16 * 8)
    assert found.activations_mb == pytest.approx(sum(maps) / MIB_BITS)
    assert found.largest_activation_mb == pytest.approx(8 * 64 * 3 / MIB_BITS)
    assert found.macs == STEM + BODY + HEAD
    assert found.mac_bits == 4 * (STEM + BODY) + 8 * HEAD
    assert found.bops == 12 * (STEM + BODY) + 64 * HEAD
    assert found.bops_percent == pytest.approx(100 * found.bops / 1024 / found.macs)
    assert found.mean_activation_bits == pytest.approx(sum(maps) / (3 * 64 + 8 * 64 + 16))
    # Sums of 27 and 72 products at 4 x 3 bits, and of 16 at 8 x 8.
    added = 7 * (STEM + BODY) + STEM * log2(27) + BODY * log2(72) + HEAD * (16 + 4)
    assert found.bops_with_additions == pytest.approx(found.bops + added, abs=1)


def test_bits_by_channel_count_as_their_mean() -> None:
    network = Network()
    bits = {"stem": [2, 4] * 4, "body": [0, 8] * 8, "head": 3.5}
    weights = weights_at(network, bits)
    assert [(w.name, w.bits) for w in weights] == [("stem", 3), ("body", 4), ("head", 3.5)]
    found = cost(count(network, weights, {}, IMAGES[:1]).products)
    assert found.mac_bits == 3 * STEM + 4 * BODY + HEAD * 7 // 2
    assert found.bops == 32 * found.mac_bits


def test_a_float_image_counts_8_bits_in_percent_only() -> None:
    found = of(Network(), QuantSpec(4, 3))
    assert found.bops == 4 * 32 * STEM + 12 * BODY + 4 * 32 * HEAD
    percent = 100 * (4 * 8 * STEM + 12 * BODY + 4 * 32 * HEAD) / 1024 / found.macs
    assert found.bops_percent == pytest.approx(percent)


class OneChannel(nn.Module):
    """Looks at one channel of an image, within a border of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x[:, :1], (1, 1, 1, 1))).mean((2, 3))


def test_a_part_of_the_image_is_as_the_image() -> None:
    found = of(OneChannel(), QuantSpec(4, 32))
    assert found.bops == 4 * 32 * found.macs
    assert found.bops_percent == pytest.approx(100 * 4 * 8 / 1024)


class Twice(nn.Module):
    """Two layers that read the same tensor, one of them in another shape, and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 2, 1), nn.Linear(192, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gram = x.flatten(2) @ x.flatten(2).mT
        return self.linear(x.flatten(1)) + self.conv(x).mean() + gram.mean()


def test_a_tensor_that_is_read_more_than_once_is_one_map() -> None:
    found = of(Twice(), QuantSpec(2, 32))
    assert found.activations_mb == pytest.approx(192 * 32 / MIB_BITS)
    assert found.macs == 2 * 192 + 5 * 192 + 9 * 64
    assert found.bops == 32 * 2 * 7 * 192 + 32 * 32 * 9 * 64


def test_resnet20_in_float() -> None:
    network, image = resnet20().eval(), torch.zeros(1, 3, 32, 32)
    weights = weights_at(network, dict.fromkeys(weighted_layers(network), 32))
    found = cost(count(network, weights, {}, image).products)
    assert (found.macs, found.bops) == (40_813_184, 1024 * 40_813_184)
    assert found.bops_percent == pytest.approx(100 * (1 - 0.75 * 442_368 / 40_813_184))
