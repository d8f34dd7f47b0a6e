"""Output channels with bits of their own."""

import pytest
import torch
from torch import nn

from models.errors import NotApplicable
from models.quantize.activation import weighted_layers
from models.quantize.bits import ChosenBits, mean_of
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.spec import QuantSpec

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def chosen(network: nn.Module) -> dict[str, tuple[int, ...]]:
    layers = weighted_layers(network).items()
    return {name: tuple((0, 2, 5)[c % 3] for c in range(len(m.weight))) for name, m in layers}


def test_each_channel_is_quantized_at_its_bits(tiny_network: nn.Module) -> None:
    bits = chosen(tiny_network)
    made = quantize(tiny_network, QuantSpec("mixed", 8), IMAGES, chosen=ChosenBits(bits))
    assert made.weight_bits == bits
    assert made.more_bits == 0
    for name, layer in weighted_layers(made.network).items():
        weight = weighted_layers(tiny_network)[name].weight
        for channel, b in enumerate(bits[name]):
            whole = weight * 0
            if b:
                whole = quantize_weight(weight, WeightFormat(b, "affine", "channel"))
            assert torch.equal(layer.weight[channel], whole[channel])


@pytest.mark.parametrize(
    "how", [{"w_granularity": "tensor"}, {"rounding": "kmeans"}, {"rounding": "brecq"}]
)
def test_a_grid_that_channels_share_cannot(tiny_network: nn.Module, how: dict[str, str]) -> None:
    spec = QuantSpec("mixed", 32, **how)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="bits are chosen by output channel"):
        quantize(tiny_network, spec, IMAGES, chosen=ChosenBits(chosen(tiny_network)))


def test_means() -> None:
    assert mean_of((3, 3)) == 3 and isinstance(mean_of((3, 3)), int)
    assert mean_of((2, 4)) == 3 and isinstance(mean_of((2, 4)), float)  # no layer at 3 bits
    assert mean_of([2, 3]) == 2.5
    assert mean_of(7) == 7
