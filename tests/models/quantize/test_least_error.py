"""The range with the least error: as good as an exhaustive search, never worse than min-max."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from models.quantize.activation import ActivationQuantizer
from models.quantize.grid import GRIDS, fake_quantize
from models.quantize.least_error import both_ends, threshold
from models.quantize.ranges import WeightFormat, estimate, quantize_weight, weight_grid
from models.quantize.rounding.adaround import AdaRound
from models.quantize.rounding.weights import round_weights

SCHEMES = ("affine", "symmetric")
VALUES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    elements=st.floats(-100, 100, width=32).map(lambda v: round(v, 3)),
)


def errors(x: Tensor, quantized: Tensor) -> Tensor:
    """Return the error of each row in units of the row's energy, (C,)."""
    rows = [v.flatten(1).double() for v in (x, x - quantized)]
    return rows[1].square().sum(1) / rows[0].square().sum(1)


def gaussian(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def exhaustive(rows: Tensor, bits: int) -> Tensor:
    """Return the least error of each row over 4,000 thresholds."""
    top, least = 2 ** (bits - 1) - 1, torch.full((len(rows),), torch.inf).double()
    for factor in torch.linspace(1 / 4000, 1, 4000):
        step = rows.abs().amax(1, keepdim=True) * factor / top
        least = torch.minimum(least, errors(rows, (rows / step).round().clamp(-top, top) * step))
    return least


@pytest.mark.parametrize(("bits", "wanted"), [(2, 0.190), (3, 0.0461), (4, 0.0123)])
def test_gaussian_weights_have_the_error_of_a_symmetric_search(bits: int, wanted: float) -> None:
    weight = gaussian(64, 32, 3, 3)
    found = errors(
        weight, quantize_weight(weight, WeightFormat(bits, "symmetric", "channel", "mse"))
    )
    assert found.mean().item() == pytest.approx(wanted, rel=0.01)
    assert (found <= 1.01 * exhaustive(weight.flatten(1), bits)).all()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_heavy_tails_are_clipped_as_far_as_they_should_be(bits: int) -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(4, 32, 512, generator=generator)
    student = noise[0] / noise[1:].square().mean(0).sqrt()  # 3 degrees of freedom
    weight = torch.cat([student, gaussian(1, 512).index_fill(1, torch.tensor([7]), 60.0)])
    weight_format = WeightFormat(bits, "symmetric", "channel", "mse")
    found = errors(weight, quantize_weight(weight, weight_format))
    assert (found <= 1.01 * exhaustive(weight, bits)).all()
    if bits == 2:
        _, high = threshold(weight, bits)
        assert (high / weight.abs().amax(1)).min() < 0.15  # below 0.21, where 80 steps of 1 % end


def test_few_large_values_want_a_threshold_far_below_the_largest() -> None:
    weight = torch.cat([gaussian(1, 100_000), torch.tensor([[50.0]])], dim=1)
    _, high = threshold(weight, 2)
    assert high.item() == pytest.approx(1.224, rel=0.02)  # of a Gaussian (Max, 1960, table I)


@pytest.mark.parametrize("bits", [2, 3])
def test_both_ends_of_an_affine_range_are_searched(bits: int) -> None:
    rows = torch.stack([gaussian(1, 64)[0], gaussian(1, 64)[0].exp(), -gaussian(1, 64)[0].exp()])
    rows[0, 0], rows[0, 1] = 4.0, -8.0
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    least = torch.full((3,), torch.inf).double()
    for left in torch.linspace(0, 0.8, 30):
        for right in torch.linspace(0, 0.8, 30):
            ends = low + (high - low) * left, high - (high - low) * right
            if left + right < 1:
                found = errors(rows, fake_quantize(rows, GRIDS["affine"](*ends, bits)))
                least = torch.minimum(least, found)
    ends = both_ends(rows, bits)
    grid = GRIDS["affine"](ends[0][:, None], ends[1][:, None], bits)
    assert (errors(rows, fake_quantize(rows, grid)) <= 1.1 * least).all()


@settings(max_examples=15)
@given(VALUES, st.sampled_from([2, 3, 4, 8]), st.sampled_from(SCHEMES))
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_no_weight_is_worse_than_in_its_min_max_range(
    granularity: str, values: np.ndarray, bits: int, scheme: str
) -> None:
    weight = torch.from_numpy(values)
    mse, minmax = (
        (weight - quantize_weight(weight, WeightFormat(bits, scheme, granularity, name)))
        .square()
        .sum(1)
        for name in ("mse", "minmax")
    )
    if granularity == "tensor":
        mse, minmax = mse.sum(), minmax.sum()
    assert (mse <= 1.0001 * minmax + 1e-6).all()


@settings(max_examples=15)
@given(
    VALUES,
    st.sampled_from([2, 3, 4, 8]),
    st.sampled_from(SCHEMES),
    st.sampled_from(["any", "positive", "negative"]),
)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_no_activation_is_worse_than_in_its_min_max_range(
    granularity: str, values: np.ndarray, bits: int, scheme: str, sign: str
) -> None:
    x = torch.from_numpy(values)
    x = {"any": x, "positive": x.abs() + 1, "negative": -x.abs() - 1}[sign]
    mse, minmax = (
        (x - ActivationQuantizer(bits, scheme, granularity, name)(x)).square().sum(0)
        for name in ("mse", "minmax")
    )
    if granularity == "tensor":
        mse, minmax = mse.sum(), minmax.sum()
    assert (mse <= 1.0001 * minmax + 1e-6).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("has_zero", [False, True])
def test_the_range_scales_with_the_values(scheme: str, has_zero: bool) -> None:
    x = gaussian(5, 300)
    for bits in (2, 4):
        ends = estimate(x, "mse", bits, 0, scheme, has_zero)
        for factor in (0.25, 1024.0):
            scaled = estimate(factor * x, "mse", bits, 0, scheme, has_zero)
            assert all(torch.equal(s, factor * e) for s, e in zip(scaled, ends, strict=True))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_of_zeros_and_constants_stay_what_they_are(scheme: str) -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [2.5, 2.5, 2.5], [-1.0, -1.0, -1.0]])
    found = quantize_weight(x, WeightFormat(3, scheme, "channel", "mse"))
    assert torch.allclose(found, x, atol=1e-6)


def test_adaround_rounds_on_the_grid_that_was_found() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False)).eval()
    weight_format = WeightFormat(3, "symmetric", "channel", "mse")
    weight = network[0].weight.detach().clone()
    grid = weight_grid(weight, weight_format)
    images = gaussian(8, 3, 8, 8)
    wanted = network(images)
    rounding = AdaRound(iterations=60, rate=3e-2)
    formats = {"0": weight_format}
    round_weights(network, formats, rounding, images, torch.Generator(), lambda *at: None)
    learned = network[0].weight.detach()
    assert torch.equal(fake_quantize(learned, grid), learned)
    gap = (network(images) - wanted).square().mean()
    network[0].weight.data = quantize_weight(weight, weight_format)
    assert gap < 0.95 * (network(images) - wanted).square().mean()
