"""What the grids of trained weights take beside their integers, counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from models.qat.conversion import make_quantizable
from models.qat.gated import GatedQuantizer
from models.qat.mixed import MixedStepRange
from models.qat.network import quantized_layers, scales_size_mb, set_bits
from models.qat.spec import QatSpec
from models.qat.weights import make_weight_quantizer

WEIGHT = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
MIB_BITS = 8 * 2**20


def bits_of(spec: QatSpec, weight: Tensor = WEIGHT) -> int:
    return make_weight_quantizer(spec, (4,), weight).scale_bits(weight, 4)


@pytest.mark.parametrize(
    ("quantizer", "granularity", "bits"),
    [
        ("lsq", "tensor", 32),
        ("lsq", "channel", 6 * 32),
        ("step_range", "tensor", 32),
        ("step_range", "channel", 6 * 32),
        ("mixed_step_range", "channel", 6 * 32),
        ("uniform_static", "channel", 6 * 32),
        ("affine", "tensor", 64),
        ("affine", "channel", 6 * 64),
    ],
)
def test_a_step_a_grid(quantizer: str, granularity: str, bits: int) -> None:
    spec = QatSpec(weight_quantizer=quantizer, granularity=granularity)
    assert bits_of(spec) == bits


@pytest.mark.parametrize(("rescale", "bits"), [("none", 0), ("constant", 32), ("stddev", 32)])
def test_levels_of_all_weights_have_a_factor_at_most(rescale: str, bits: int) -> None:
    assert bits_of(QatSpec(weight_quantizer="dorefa", rescale=rescale)) == bits


def test_learned_bits_of_channels_have_an_index() -> None:
    spec = QatSpec(weight_quantizer="mixed_step_range", granularity="channel")
    quantizer = make_weight_quantizer(spec, (4,), WEIGHT)
    assert isinstance(quantizer, MixedStepRange)
    with torch.no_grad():
        # Largest integers 1, 3 and 7 and a sign: 2, 3 and 4 bits, of which two bits say which.
        top = torch.tensor([1.0, 3, 7, 1, 3, 7]).view(-1, 1, 1, 1)
        quantizer.step["4"].fill_(0.05)
        quantizer.xmax["4"].copy_(0.05 * top)
    assert quantizer.bits_in_use(4) == [2, 3, 4, 2, 3, 4]
    assert quantizer.scale_bits(WEIGHT, 4) == 6 * 32 + 6 * 2


@pytest.mark.parametrize(("pruned", "bits"), [(0, 32), (2, 32 + 6), (6, 32)])
def test_pruned_channels_of_a_gated_weight_are_named(pruned: int, bits: int) -> None:
    spec = QatSpec(weight_quantizer="gated", activation_quantizer="gated")
    quantizer = make_weight_quantizer(spec, (32, 16, 8, 4, 2), WEIGHT)
    assert isinstance(quantizer, GatedQuantizer)
    assert quantizer.phi_channels is not None
    with torch.no_grad():
        quantizer.phi_channels[:pruned] = -6.0
    assert quantizer.scale_bits(WEIGHT, 32) == bits


def test_of_a_network(tiny_network: nn.Module) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    spec = QatSpec(
        weight_quantizer="lsq", activation_quantizer="lsq", granularity="channel", last_bits=32
    )
    made = make_quantizable(tiny_network, (32, 4), spec, images)
    set_bits(made, 4)
    assert len(quantized_layers(made)) == 4
    # Three convolutions of four channels; the last layer is in float.
    assert scales_size_mb(made) * MIB_BITS == 12 * 32
    set_bits(made, 32)
    assert scales_size_mb(made) * MIB_BITS == 4 * 32  # the first layer has 8 bits whatever is set
