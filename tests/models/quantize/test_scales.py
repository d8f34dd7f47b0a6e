"""What steps, zero points and bits of channels take, counted by hand."""

import pytest
import torch
from torch import nn

from models.quantize.bits import ChosenBits
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.registry import make_rounding
from models.quantize.scales import bits_of_grids, index_bits
from models.quantize.spec import QuantSpec

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def network() -> nn.Sequential:
    """24 x 3 x 9 weights of a convolution and 5 x 24 of a linear layer: 24 and 5 channels."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 24, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(24, 5)).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("scheme", "granularity", "bits"),
    [
        ("symmetric", "tensor", 2 * 32),
        ("affine", "tensor", 2 * 64),
        ("symmetric", "channel", 29 * 32),
        ("affine", "channel", 29 * 64),
    ],
)
def test_a_step_a_grid_and_a_zero_point_where_it_is_affine(
    scheme: str, granularity: str, bits: int
) -> None:
    spec = QuantSpec(4, 32, w_scheme=scheme, w_granularity=granularity)
    assert quantize(network(), spec, IMAGES).scale_bits == bits


def test_layers_in_float_have_no_grid() -> None:
    spec = QuantSpec(4, 32, last_bits=32)
    assert quantize(network(), spec, IMAGES).scale_bits == 24 * 64
    assert quantize(network(), QuantSpec(32, 8), IMAGES).scale_bits == 0


def test_channels_of_different_bits_have_an_index() -> None:
    # 0, 2 and 5 bits take two bits to tell, and 16 of 24 channels have a grid; 3 and 4 take one.
    chosen = {"0": (0, 2, 5) * 8, "4": (3, 4, 4, 4, 4)}
    spec = QuantSpec("mixed", 32, mean_bits=3)
    made = quantize(network(), spec, IMAGES, chosen=ChosenBits(chosen))
    assert made.scale_bits == (16 * 64 + 24 * 2) + (5 * 64 + 5 * 1)


def test_equal_channels_need_no_index() -> None:
    chosen = {"0": (3,) * 24, "4": 4}
    spec = QuantSpec("mixed", 32, mean_bits=3, w_scheme="symmetric")
    made = quantize(network(), spec, IMAGES, chosen=ChosenBits(chosen))
    assert made.scale_bits == 29 * 32


@pytest.mark.parametrize("rounding", ["product", "kmeans"])
def test_codebooks_are_in_the_size_and_have_no_grid(rounding: str) -> None:
    made = quantize(network(), QuantSpec(4, 32, rounding=rounding), IMAGES)
    assert made.scale_bits == 0


@pytest.mark.parametrize(
    ("rounding", "weight_format", "groups", "bits"),
    [
        # Four bits say which of 0..8 a channel has; above 4 bits all have the same.
        ("aciq", WeightFormat(4, "affine", "channel"), 1, 8 * 64 + 8 * 4),
        ("aciq", WeightFormat(5, "affine", "channel"), 1, 8 * 64),
        # 5 % of 30 input channels are 2, and one of 30 takes 5 bits to name.
        ("ocs", WeightFormat(4, "symmetric", "tensor"), 1, 32 + 2 * 5),
        ("ocs", WeightFormat(4, "symmetric", "tensor"), 2, 32),
        ("outlier", WeightFormat(4, "symmetric", "channel"), 1, 8 * 32),
        ("dpq_sx", WeightFormat(4, "affine", "channel"), 1, 0),
        ("brecq", WeightFormat(4, "affine", "channel"), 1, 8 * 64),
    ],
)
def test_of_a_rounding(rounding: str, weight_format: WeightFormat, groups: int, bits: int) -> None:
    values = QuantSpec(4, 32, rounding=rounding).as_dict() | {"rounding_ratio": 0.05}
    made = make_rounding(rounding, values)
    assert isinstance(made, BlockRounding) == (rounding == "brecq")
    assert made.scale_bits(torch.zeros(8, 30, 3, 3), weight_format, groups) == bits


@pytest.mark.parametrize(("rounding", "index"), [("nearest", 0), ("aciq", 24 * 4 + 5 * 4)])
@pytest.mark.parametrize("correction", ["mean", "mean_variance"])
def test_a_corrected_channel_has_a_step_and_a_zero_point(
    rounding: str, index: int, correction: str
) -> None:
    spec = QuantSpec(4, 32, rounding=rounding, weight_correction=correction)
    assert quantize(network(), spec, IMAGES).scale_bits == 29 * 64 + index


def test_correction_adds_to_one_grid_of_a_tensor() -> None:
    spec = QuantSpec(4, 32, "symmetric", w_granularity="tensor", weight_correction="mean")
    assert quantize(network(), spec, IMAGES).scale_bits == 29 * 64


def test_a_weight_that_layers_share_is_counted_once() -> None:
    shared = nn.Linear(6, 6)
    twice = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), shared, nn.ReLU(), shared)
    twice.append(nn.Linear(6, 6))
    twice[6].weight = shared.weight
    made = quantize(twice.eval(), QuantSpec(4, 32), IMAGES)
    assert made.scale_bits == (6 + 6) * 64


def test_the_index() -> None:
    assert [index_bits(of) for of in ((2, 2, 2), (2, 4, 4), (0, 2, 4), (1, 2, 3, 4, 5))] == [
        *(0, 3, 6, 15)
    ]


def test_pruned_channels_have_no_grid() -> None:
    weight_format = WeightFormat(4, "symmetric", "channel", "minmax", (4, 0, 4))
    assert bits_of_grids(weight_format, 3) == 2 * 32 + 3
