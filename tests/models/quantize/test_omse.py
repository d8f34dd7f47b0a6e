"""OMSE against the exact optimum by definition, and FQ-ViT's observer against its release."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize import omse
from models.quantize.grid import affine_grid, fake_quantize, symmetric_grid
from models.quantize.omse import exact_threshold, shrunk
from models.quantize.ranges import WeightFormat, estimate, quantize_weight

Golden = Callable[[str], dict[str, np.ndarray]]


def squared_error(rows: Tensor, bits: int) -> Tensor:
    """Return the squared error of each row with `exact_threshold`, on the grid that is used."""
    low, high = exact_threshold(rows, bits)
    grid = symmetric_grid(low[:, None], high[:, None], bits)
    return (fake_quantize(rows, grid) - rows).double().square().sum(1)


@pytest.mark.parametrize("few", [512, 16])  # short rows swept whole, or long ones narrowed first
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["W", "Wo"])
def test_global_optimum_of_weights(
    name: str, bits: int, few: int, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omse, "_FEW", few)
    recorded = golden("omse")
    weight = torch.from_numpy(recorded[name])
    for granularity, rows in (("tensor", weight.view(1, -1)), ("channel", weight.flatten(1))):
        step, error, of_minmax = recorded[f"opt_sym_{name}_b{bits}_{granularity}"].reshape(-1, 3).T
        low, high = exact_threshold(rows, bits)
        assert torch.equal(low, -high)
        np.testing.assert_allclose(high / (2 ** (bits - 1) - 1), step, rtol=1e-6)
        np.testing.assert_allclose(squared_error(rows, bits), error, rtol=1e-4)
        assert (error <= of_minmax * (1 + 1e-9)).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_global_optimum_of_activations(bits: int, golden: Golden) -> None:
    recorded = golden("omse")
    values = torch.from_numpy(recorded["act"]).view(1, -1)
    step, error, _ = recorded[f"opt_uns_act_b{bits}"]
    low, high = exact_threshold(values, bits)
    assert low.item() == 0
    assert high.item() / (2**bits - 1) == pytest.approx(step, rel=1e-6)
    assert squared_error(values, bits).item() == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_not_the_local_optimum_of_alternation(bits: int, golden: Golden) -> None:
    recorded = golden("omse")
    errors = squared_error(torch.from_numpy(recorded["W"]).flatten(1), bits).numpy()
    alternated = recorded[f"fwa_W_b{bits}"][:, 1]
    assert (errors <= alternated * (1 + 1e-5)).all()
    assert (errors < alternated * 0.999).sum() >= 5


def test_by_hand() -> None:
    # 1, 1 and 0.5 are exact with a step of 0.5; the third level is then above the largest value.
    rows = torch.tensor([[1.0, -1, 0.5, 0], [0, 0, 0, 0], [3, 3, 3, -3]])
    assert exact_threshold(rows, 3)[1].tolist()[:2] == [1.5, 0]
    assert squared_error(rows, 3).tolist() == pytest.approx([0, 0, 0], abs=1e-10)


def test_a_row_narrowed_first_has_the_optimum_of_one_swept_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 3000, generator=generator) ** 3
    rows[1, 1000:] = 0
    rows[2] = rows[2].round()  # few values
    rows[3] = 0
    found = {bits: exact_threshold(rows, bits)[1] for bits in (2, 4, 6)}
    monkeypatch.setattr(omse, "_FEW", 3000)
    for bits, high in found.items():
        whole = exact_threshold(rows, bits)[1]
        assert torch.allclose(high, whole, rtol=1e-6), bits


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("name", ["W", "Wo", "act"])
def test_observer_of_fq_vit(name: str, bits: int, golden: Golden) -> None:
    recorded = golden("omse")
    values = torch.from_numpy(recorded[name])
    scale, _, smallest, largest, error = recorded[f"fqvit_{name}_b{bits}"]
    low, high = estimate(values, "fq_vit", bits, None)
    assert (low.item(), high.item()) == pytest.approx((smallest, largest), rel=1e-6)
    grid = affine_grid(low, high, bits)
    assert 1 / grid.inverse_scale.item() == pytest.approx(scale, rel=1e-6)
    quantized = fake_quantize(values, grid)
    assert (quantized - values).square().mean().item() == pytest.approx(error, rel=1e-5)
    if (name, bits) == ("Wo", 4):
        np.testing.assert_allclose(quantized, recorded["fqvit_Wo_b4_q"], atol=1e-7)


def test_the_observer_has_one_factor_for_all_channels() -> None:
    rows = torch.randn(3, 500, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[1.0], [5.0], [0.1]]
    )
    _, high = shrunk(rows, 3, "symmetric")
    factors = high / rows.amax(1)
    assert torch.allclose(factors, factors[:1].expand(3))
    assert factors[0] < 1


def test_what_it_cannot_do() -> None:
    weight = torch.randn(4, 9)
    with pytest.raises(NotApplicable, match=r"^quant\.w_range=omse is the exact optimum of symmet"):
        quantize_weight(weight, WeightFormat(4, "affine", "channel", "omse"))
    with pytest.raises(NotApplicable, match=r"up to 8 bits and not 9; set quant\.w_range=mse"):
        quantize_weight(weight, WeightFormat(9, "symmetric", "channel", "omse"))
    with pytest.raises(NotApplicable, match=r"set quant\.a_scheme=symmetric"):
        estimate(weight, "omse", 4, None, "affine", has_zero=True)
