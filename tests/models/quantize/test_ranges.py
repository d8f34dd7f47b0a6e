"""Range estimators against the DSG release's figures and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.quantize.activation import ActivationQuantizer
from models.quantize.entropy import entropy_threshold
from models.quantize.ranges import (
    WeightFormat,
    estimate,
    quantize_weight,
)

Golden = Callable[[str], dict[str, np.ndarray]]

RELEASE = {"minmax": "minmax", "ema": "ema", "percentile": "perc", "mse": "mse"}


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("name", list(RELEASE))
def test_equal_to_the_dsg_release(golden: Golden, name: str, bits: int) -> None:
    arrays = golden("dsg_calibrators")
    quantizer = ActivationQuantizer(bits, "affine", "tensor", name)
    out = quantizer(torch.from_numpy(arrays["activation"])).numpy()
    found = [quantizer.low.item(), quantizer.high.item()]
    assert found == arrays[f"{RELEASE[name]}_b{bits}_range"].tolist()
    assert np.array_equal(out, arrays[f"{RELEASE[name]}_b{bits}_out"])


def test_ema_by_hand() -> None:
    x = torch.tensor([[0.0, 4.0], [-2.0, 8.0]])
    assert [v.item() for v in estimate(x, "ema", 8, None)] == [-1, 6]


def test_percentile_interpolates() -> None:
    x = torch.arange(100_001.0).view(1, -1)
    low, high = estimate(x, "percentile", 8, None)
    assert low.item() == pytest.approx(1, abs=1e-2)
    assert high.item() == pytest.approx(99_999, abs=1e-2)


def test_mse_clips_an_outlier_that_costs_more_than_it_is_worth() -> None:
    x = torch.cat([torch.linspace(0, 1, 10_000), torch.tensor([4.0])]).view(1, -1)
    _, high = estimate(x, "mse", 2, None)
    assert 0.8 < high.item() < 1.3
    _, high = estimate(x, "mse", 8, None)  # 255 steps: the outlier is nearly free
    assert high.item() > 1.3


def test_entropy_thresholds_are_nvidias(golden: Golden) -> None:
    arrays = golden("entropy_nvidia")
    names = [key.rsplit("_", 3) for key in arrays if "_start" in key]
    assert len(names) == 18
    for name, bits, sign, start in names:
        levels = 2 ** (int(bits) - (sign == "signed"))
        assert start == f"start{levels}"
        wanted = arrays[f"{name}_{bits}_{sign}_{start}"]
        assert entropy_threshold(arrays[name], levels) == wanted
        if sign == "unsigned" or name in ("gauss", "laplace"):  # what the sign of the data leads to
            low, high = estimate(torch.from_numpy(arrays[name])[None], "entropy", int(bits), None)
            assert high.item() == np.float32(wanted)
            assert low.item() == (0 if sign == "unsigned" else -high.item())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_entropy_keeps_the_largest_of_few_values(bits: int) -> None:
    """One filled bin has a divergence of 0, whatever is clipped: no threshold keeps but that."""
    generator = torch.Generator().manual_seed(bits)
    for count in (1, 2, 27, 144):
        weight = torch.randn(5, count, generator=generator)
        for scheme in ("affine", "symmetric"):
            low, high = estimate(weight, "entropy", bits, 0, scheme)
            kept = torch.maximum(low.abs(), high.abs())[:, 0] / weight.abs().amax(1)
            assert kept.min() > 0.5
            assert kept.median() == 1


def test_entropy_of_values_of_one_sign_uses_half_the_axis() -> None:
    x = torch.rand(2, 20_000, generator=torch.Generator().manual_seed(3))
    x[1] *= -1
    low, high = estimate(x, "entropy", 8, 0)
    assert (low[0].item(), high[1].item()) == (0, 0)
    assert low[1].item() < -0.95
    assert high[0].item() > 0.95


def test_entropy_takes_the_gap_below_the_smallest_value_for_part_of_the_grid() -> None:
    x = 5 + torch.rand(1, 20_000, generator=torch.Generator().manual_seed(4))
    for bits in (3, 8):
        assert estimate(x, "entropy", bits, None)[1].item() > 5.9
        assert estimate(-x, "entropy", bits, None, "affine", True)[0].item() < -5.9


def test_entropy_of_a_symmetric_grid_has_a_sign_in_every_channel_or_in_none() -> None:
    x = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(5))
    x[0] = x[0].abs()
    _, with_sign = estimate(x, "entropy", 4, 0, "symmetric")
    _, alone = estimate(x[:1], "entropy", 4, 0, "symmetric")
    size = x[0].numpy()
    assert with_sign[0].item() == np.float32(entropy_threshold(size, 8))
    assert alone.item() == np.float32(entropy_threshold(size, 16))


def test_entropy_ignores_a_rare_tail_and_keeps_a_uniform_one() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(1, 200_000, generator=generator).abs()
    tailed = torch.cat([normal, torch.tensor([[30.0]])], dim=1)
    assert estimate(tailed, "entropy", 8, None)[1].item() < 10
    uniform = torch.rand(1, 200_000, generator=generator)
    assert estimate(uniform, "entropy", 8, None)[1].item() > 0.95


def test_entropy_is_two_sided_where_values_are() -> None:
    x = torch.randn(1, 50_000, generator=torch.Generator().manual_seed(1))
    low, high = estimate(x, "entropy", 8, None)
    assert low == -high


@pytest.mark.parametrize("name", ["minmax", "ema", "percentile", "mse", "entropy"])
def test_channels_are_estimated_alone(name: str) -> None:
    x = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(2)) * torch.tensor(
        [1.0, 10.0]
    ).view(1, 2, 1, 1)
    low, high = estimate(x, name, 4, 1)
    assert low.shape == high.shape == (1, 2, 1, 1)
    for channel in range(2):
        alone = estimate(x[:, channel : channel + 1], name, 4, None)
        assert (low[0, channel].item(), high[0, channel].item()) == tuple(v.item() for v in alone)


@pytest.mark.parametrize("name", ["minmax", "ema", "percentile", "mse", "entropy"])
def test_memory_layout_does_not_matter(name: str) -> None:
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(3)).relu()
    nhwc = x.contiguous(memory_format=torch.channels_last)
    for channel_dim in (None, 1):
        pair = [estimate(v, name, 4, channel_dim) for v in (x, nhwc)]
        assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse", "entropy"])
def test_constant_and_zero_tensors_stay_finite(name: str) -> None:
    for value in (0.0, 2.5):
        x = torch.full((2, 3, 4, 4), value)
        quantizer = ActivationQuantizer(4, "affine", "tensor", name)
        assert torch.isfinite(quantizer(x)).all()


def test_weight_range_mse_has_less_error_than_minmax() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(4))
    weight[:, 0, 0, 0] = 6  # one outlier a channel
    errors = [
        (weight - quantize_weight(weight, WeightFormat(3, "affine", "channel", name)))
        .square()
        .mean()
        .item()
        for name in ("minmax", "mse")
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_alternating_is_the_bit_split_releases(golden: Golden, scheme: str, bits: int) -> None:
    arrays = golden("bitsplit_conv")
    x = torch.from_numpy(arrays["act"])
    quantizer = ActivationQuantizer(bits, scheme, "tensor", "alternating")
    quantizer(x)
    assert quantizer.low.item() == 0
    wanted = arrays[f"act_scale_b{bits}"] * (2**bits - 1)
    assert quantizer.high.item() == pytest.approx(wanted, rel=1e-6)
    found = quantizer(x[:2, :4]).numpy()
    np.testing.assert_allclose(found, arrays[f"act_q_b{bits}"], rtol=1e-5, atol=1e-6)


def test_alternating_by_hand() -> None:
    # Of 2 bits and one sign the first step is 1/3, its integers 0 1 3 3, and they stay.
    rows = torch.tensor([[0.0, 0.4, 1.0, 0.9], [-0.4, 0.0, -1.0, -0.9], [1.0, -1.0, 0.2, 0.0]])
    low, high = estimate(rows, "alternating", 2, 0)
    step = (0.4 + 3 * 1.0 + 3 * 0.9) / 19
    assert high.flatten().tolist() == pytest.approx([3 * step, 0, 1])
    assert low.flatten().tolist() == pytest.approx([0, -3 * step, -1])
    low, high = estimate(torch.zeros(1, 5), "alternating", 4, None, has_zero=True)
    assert (low.item(), high.item()) == (0, 0)
    low, high = estimate(torch.tensor([[1.0, torch.nan]]), "alternating", 4, None)
    assert bool(high.isnan())
