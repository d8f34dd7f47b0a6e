"""Corrections of a rounded weight, against the authors' expressions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import NotApplicable
from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.bit_split import BitSplit
from models.quantize.rounding.corrected import Corrected, correct
from models.quantize.spec import QuantSpec

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize("bits", [3, 4])
def test_figures_of_the_release(bits: int, golden: Golden) -> None:
    recorded = golden("aciq")
    weight, rounded = (torch.from_numpy(recorded[k]) for k in ("W", f"W_pc_b{bits}"))
    mean = correct(rounded, weight, "mean")
    both = correct(rounded, weight, "mean_variance")
    errors = [(w - weight).double().square().sum().item() for w in (rounded, mean, both)]
    assert errors == pytest.approx(recorded[f"W_bcorr_err_b{bits}"].tolist(), rel=1e-5)
    taken = (rounded - mean).flatten(1).mean(1)
    np.testing.assert_allclose(taken, recorded[f"W_bias_b{bits}"], atol=1e-7)
    factors = both.flatten(1).std(1) / rounded.flatten(1).std(1)
    np.testing.assert_allclose(factors, recorded[f"W_varcorr_b{bits}"], rtol=1e-5)


def test_channels_without_a_spread_stay_finite() -> None:
    weight = torch.tensor([[1.0, 1.2], [2.0, 2.0], [0.0, 0.0]])
    rounded = torch.tensor([[1.0, 1.0], [1.5, 2.5], [0.0, 0.0]])
    made = correct(rounded, weight, "mean_variance")
    assert torch.allclose(made, torch.tensor([[1.1, 1.1], [2.0, 2.0], [0.0, 0.0]]))


@pytest.mark.parametrize("rounding", ["nearest", "ocs", "adaround"])
def test_with_any_rounding(rounding: str, golden_network: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    spec = QuantSpec(
        *(3, 32, "symmetric", "affine", "tensor"),
        rounding=rounding,
        rounding_iterations=2,
        weight_correction="mean_variance",
    )
    made = quantize(golden_network, spec, images)
    for name, module in made.network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            rows = module.weight.flatten(1)
            wanted = golden_network.get_parameter(f"{name}.weight").flatten(1)
            assert torch.allclose(rows.mean(1), wanted.mean(1), atol=1e-6)
            constant = rows.std(1) < 1e-6
            assert torch.allclose(rows.std(1)[~constant], wanted.std(1)[~constant], rtol=1e-4)
    assert (made.more_bits > 0) == (rounding == "ocs")


def test_it_refuses_what_the_rounding_refuses() -> None:
    corrected = Corrected(BitSplit(variant="sequential"), "mean")
    assert corrected.inputs == "quantized"
    with pytest.raises(NotApplicable, match="bit_split has a grid of its own"):
        corrected.check(WeightFormat(4, "affine", "channel"))


def test_identity() -> None:
    assert identity(QuantSpec(4, 8, weight_correction="mean")) == {
        **{"w_bits": 4, "a_bits": 8, "weight_correction": "mean"}
    }
    assert identity(QuantSpec(32, 8, weight_correction="mean")) == {"w_bits": 32, "a_bits": 8}
    assert identity(QuantSpec(4, 8, rounding_ratio=0.05)) == {"w_bits": 4, "a_bits": 8}
    ocs = identity(QuantSpec(4, 8, rounding="ocs", rounding_ratio=0.05, rounding_epochs=3))
    assert ocs == {"w_bits": 4, "a_bits": 8, "rounding": "ocs", "rounding_ratio": 0.05}
    kept = identity(QuantSpec(32, 8, reestimate_batchnorm=True))
    assert kept == {"w_bits": 32, "a_bits": 8, "reestimate_batchnorm": True}
