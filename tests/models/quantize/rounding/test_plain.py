"""Roundings that look at each weight alone, by hand."""

import pytest
import torch

from models.quantize.ranges import WeightFormat, quantize_weight, weight_grid
from models.quantize.rounding.base import Layer
from models.quantize.rounding.plain import Ceil, Floor, Nearest, Stochastic

# Symmetric over [-3, 3] with 3 bits: a step of 1.
FORMAT = WeightFormat(3, "symmetric", "tensor")
WEIGHT = torch.tensor([[-3.0, -1.5, -0.25], [0.5, 1.75, 3.0]])


def layer(weight: torch.Tensor = WEIGHT, seed: int = 0) -> Layer:
    return Layer(weight, FORMAT, None, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rounding", "rounded"),
    [
        (Nearest(), [[-3, -2, 0], [0, 2, 3]]),  # ties to even
        (Floor(), [[-3, -2, -1], [0, 1, 3]]),
        (Ceil(), [[-3, -1, 0], [1, 2, 3]]),
    ],
)
def test_by_hand(rounding: Nearest, rounded: list[list[int]]) -> None:
    assert rounding.quantize(layer()).weight.tolist() == rounded


def test_nearest_is_the_grids() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Nearest().quantize(layer(weight)).weight, quantize_weight(weight, FORMAT))


def test_stochastic_rounding_keeps_the_mean_and_what_is_on_the_grid() -> None:
    weight = torch.cat([torch.tensor([-3.0, 3.0, 2.0]), torch.full((40_000,), 0.3)])
    rounded = Stochastic().quantize(layer(weight)).weight
    assert rounded[:3].tolist() == [-3, 3, 2]
    assert set(rounded[3:].tolist()) == {0.0, 1.0}
    # Five standard errors, sqrt(0.3 x 0.7 / 40,000) each.
    assert rounded[3:].mean().item() == pytest.approx(0.3, abs=0.0115)
    assert torch.equal(Stochastic().quantize(layer(weight)).weight, rounded)
    assert not torch.equal(Stochastic().quantize(layer(weight, seed=1)).weight, rounded)


@pytest.mark.parametrize("rounding", [Floor(), Ceil(), Stochastic()])
@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
def test_within_a_step_and_on_the_grid(rounding: Floor, scheme: str) -> None:
    weight_format = WeightFormat(4, scheme, "channel")
    weight = torch.randn(5, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    grid = weight_grid(weight, weight_format)
    shown = Layer(weight, weight_format, None, torch.Generator().manual_seed(0))
    q = rounding.quantize(shown).weight * grid.inverse_scale - grid.zero_point
    assert torch.allclose(q, q.round(), atol=1e-3)
    assert bool((q.round() >= grid.q_min).all() and (q.round() <= grid.q_max).all())
    steps = weight * grid.inverse_scale - grid.zero_point
    inside = (steps > grid.q_min) & (steps < grid.q_max)
    assert bool(((q - steps).abs()[inside] < 1 + 1e-3).all())
