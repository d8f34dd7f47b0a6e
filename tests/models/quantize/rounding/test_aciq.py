"""Bits of channels against those of the authors' release."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.rounding.aciq import ACIQ, allocate
from models.quantize.rounding.base import Layer

Golden = Callable[[str], dict[str, np.ndarray]]
FORMAT = WeightFormat(4, "affine", "channel")


def layer(weight: torch.Tensor, bits: int = 4) -> Layer:
    return Layer(weight, FORMAT._replace(bits=bits), None, torch.Generator())


def test_figures_of_the_release(golden: Golden) -> None:
    recorded = golden("aciq")
    found = allocate(torch.from_numpy(recorded["ba_alpha"]), 4)
    assert found.tolist() == recorded["ba_target_round"].tolist()
    weight = torch.from_numpy(recorded["W"])
    assert allocate(weight.flatten(1).std(1), 4).tolist() == recorded["W_ba_bits"].tolist()
    rounded = ACIQ().quantize(layer(weight))
    np.testing.assert_allclose(rounded.weight, recorded["W_pc_ba_b4"], atol=1e-7)
    assert rounded.size_bits == weight.numel() * 4


def test_channels_of_unequal_spread(golden: Golden) -> None:
    generator = torch.Generator().manual_seed(0)
    spreads = torch.from_numpy(golden("aciq")["ba_alpha"])
    weight = torch.randn(8, 200, generator=generator) * spreads[:, None]
    rounded = ACIQ().quantize(layer(weight))
    bits = allocate(weight.std(1), 4)
    assert bits.tolist() == [2, 3, 4, 4, 5, 6, 4, 4]
    assert rounded.size_bits == 200 * 32
    for row, channel_bits in zip(rounded.weight, bits.tolist(), strict=True):
        assert 2 ** (channel_bits - 1) < len(row.unique()) <= 2**channel_bits
    nearest = quantize_weight(weight, FORMAT)
    errors = [(w - weight).square().sum().item() for w in (rounded.weight, nearest)]
    assert errors[0] < 0.5 * errors[1]


def test_channels_without_a_spread_have_no_bits() -> None:
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    weight[1], weight[2] = 0, 0.3
    bits = allocate(weight.std(1), 3)
    assert bits[1:3].tolist() == [0, 0]
    rounded = ACIQ().quantize(layer(weight, 3))
    assert torch.allclose(rounded.weight[1:3], weight[1:3])
    assert rounded.size_bits == 50 * int(bits.sum())
    assert not ACIQ().quantize(layer(torch.zeros(2, 3, 3, 3))).weight.any()


def test_what_it_cannot_do() -> None:
    with pytest.raises(NotApplicable, match=r"set quant\.w_scheme=affine$"):
        ACIQ().check(WeightFormat(4, "symmetric", "channel"))
    with pytest.raises(NotApplicable, match=r"set quant\.w_range=minmax$"):
        ACIQ().check(WeightFormat(4, "affine", "channel", "mse"))
    weight = torch.randn(4, 30)
    rounded = ACIQ().quantize(layer(weight, 8))
    assert torch.equal(rounded.weight, quantize_weight(weight, FORMAT._replace(bits=8)))
    assert rounded.warning == "8 bits for all channels: they are allocated up to 4 only"
