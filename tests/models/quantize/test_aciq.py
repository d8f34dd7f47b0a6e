"""Clipping in closed form against the release's tables and ranges."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from models.quantize.aciq import Prior, best_distance, clipped, spread
from models.quantize.grid import affine_grid, fake_quantize
from models.quantize.ranges import estimate

Golden = Callable[[str], dict[str, np.ndarray]]
IN_RELEASE: dict[Prior, str] = {"laplace": "laplace", "gauss": "gaus"}


@pytest.mark.parametrize("prior", get_args(Prior))
def test_optima(prior: Prior, golden: Golden) -> None:
    recorded = golden("aciq")
    found = [best_distance(prior, int(bits)) for bits in recorded["bits"]]
    np.testing.assert_allclose(found, recorded[f"opt_{prior}"], atol=1e-6)
    # The release cuts off or rounds to two decimals; behind a ReLU it has one bit more.
    np.testing.assert_allclose(found, recorded[f"table_alpha_{IN_RELEASE[prior]}"], atol=0.01)
    positive = [best_distance(prior, int(bits) + 1) for bits in recorded["bits"]]
    table = recorded[f"table_alpha_{IN_RELEASE[prior]}_positive"]
    np.testing.assert_allclose(positive, table, atol=0.02)
    # The copy in another release is of an earlier bound.
    assert (np.abs(recorded[f"ocs_repo_{prior}"] - found) > 0.2).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("prior", get_args(Prior))
def test_ranges_before_a_relu(prior: Prior, bits: int, golden: Golden) -> None:
    recorded = golden("aciq")
    values = torch.from_numpy(recorded["pre"]).view(1, -1)
    low, width = recorded[f"act_{IN_RELEASE[prior]}_full_b{bits}_range"]
    found = clipped(values, bits, prior)
    assert found[0].item() == pytest.approx(low, rel=5e-3)
    assert found[1].item() == pytest.approx(min(low + width, values.max().item()), rel=5e-3)
    # Behind the ReLU the release's a is of the spread before it.
    a = recorded[f"act_{IN_RELEASE[prior]}_half_b{bits}_alpha"].item()
    measured = spread(values - values.mean(), prior).item()
    assert best_distance(prior, bits + 1) * measured == pytest.approx(a, rel=5e-3)


def test_output_of_the_release(golden: Golden) -> None:
    recorded = golden("aciq")
    values = torch.from_numpy(recorded["pre"])
    grid = affine_grid(*estimate(values, "aciq_gauss", 4, None), 4)
    wanted = torch.from_numpy(recorded["act_gaus_full_b4_out"])
    # Constants of two decimals: 2.55 for 2.559.
    assert (fake_quantize(values, grid) - wanted).abs().mean() < 0.1 / grid.inverse_scale


@pytest.mark.parametrize("prior", get_args(Prior))
@pytest.mark.parametrize("bits", [3, 4])
def test_nearly_the_least_error_on_what_it_is_for(prior: Prior, bits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(100_000, generator=generator)
    if prior == "laplace":
        values = values.sign() * torch.rand(100_000, generator=generator).log()
    for x in (values, values.relu()):
        low, high = estimate(x, f"aciq_{prior}", bits, None, has_zero=True)
        errors = []
        for factor in torch.linspace(0.5, 1.5, 21):
            grid = affine_grid(low * factor, high * factor, bits)
            errors.append((fake_quantize(x, grid) - x).square().mean().item())
        assert errors[10] < 1.1 * min(errors)


def test_channels_and_what_is_empty() -> None:
    x = -torch.rand(8, 3, 20, 20, generator=torch.Generator().manual_seed(0)).log()
    x = x * torch.tensor([1.0, 5.0, 0.0]).view(1, 3, 1, 1)
    low, high = estimate(x, "aciq_laplace", 4, 1, has_zero=True)
    assert not low.any()
    ratios = high.flatten() / best_distance("laplace", 5)
    assert ratios.tolist() == pytest.approx([1, 5, 0], rel=0.05)
    assert estimate(x[:, 2:], "aciq_gauss", 4, 1)[1].item() == 0
