"""Outlier channel splitting against the codes of the authors' release."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import BenchError, NotApplicable
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.rounding.base import Layer
from models.quantize.rounding.ocs import OCS, split
from models.quantize.spec import QuantSpec

Golden = Callable[[str], dict[str, np.ndarray]]


def layer(weight: Tensor, bits: int = 4, range_estimator: str = "minmax", groups: int = 1) -> Layer:
    weight_format = WeightFormat(bits, "symmetric", "tensor", range_estimator)
    return Layer(weight, weight_format, None, torch.Generator(), groups)


@pytest.fixture(params=["w", "neg", "real"])
def case(request: pytest.FixtureRequest, golden: Golden) -> tuple[str, Tensor]:
    name = request.param
    if name == "real":
        return name, torch.from_numpy(golden("bitsplit_conv")["W"])
    return name, torch.from_numpy(golden("ocs")[{"w": "w", "neg": "w_neg"}[name]])


def test_channels_of_the_release(case: tuple[str, Tensor], golden: Golden) -> None:
    name, weight = case
    recorded = golden("ocs")
    for ratio in ("0.01", "0.02", "0.05", "0.1"):
        wanted = recorded[f"{name}_r{ratio}_t0.0_idx"]
        expanded = split(weight, len(wanted))
        assert np.ceil(float(ratio) * weight.shape[1]) == len(wanted)
        assert expanded.sources.tolist() == [*range(weight.shape[1]), *wanted]
    if name == "w":
        wanted = torch.from_numpy(recorded["w_r0.05_t0.0_w"])
        assert torch.equal(split(weight, 2).weight, wanted)


@pytest.mark.parametrize("bits", [4, 5, 6, 8])
def test_codes_of_the_release(bits: int, case: tuple[str, Tensor], golden: Golden) -> None:
    name, weight = case
    recorded = golden("ocs")
    scale = recorded[f"{name}_r0.05_t0.0_b{bits}_scale"].item()
    codes = recorded[f"{name}_r0.05_t0.0_b{bits}_q"].astype(np.float64)
    sources = [*range(weight.shape[1]), *recorded[f"{name}_r0.05_t0.0_b{bits}_idx_grid"]]
    wanted = np.zeros(weight.shape)
    for place, source in enumerate(sources):
        wanted[:, source] += codes[:, place] / scale
    rounded = OCS(ratio=0.05).quantize(layer(weight, bits))
    np.testing.assert_allclose(rounded.weight, wanted, rtol=1e-6, atol=1e-7)
    assert rounded.size_bits == bits * codes.size
    assert not rounded.warning


def test_grid_aware_is_better_than_naive_is_better_than_none_where_there_are_outliers(
    golden: Golden,
) -> None:
    weight = torch.from_numpy(golden("ocs")["w"])

    def error(rounded: Tensor) -> float:
        return (rounded - weight).square().sum().item()

    shown = layer(weight)
    naive = error(OCS(0.05, "naive").quantize(shown).weight)
    aware = error(OCS(0.05).quantize(shown).weight)
    nearest = error(quantize_weight(weight, shown.format))
    assert (nearest, naive, aware) == pytest.approx((9.89, 3.08, 2.48), abs=0.006)


def test_halves_half_a_step_apart_make_up_the_rounded_whole() -> None:
    weight = torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(0)) * 10
    expanded = split(weight, 5, apart=0.5)
    summed = torch.zeros_like(weight).index_add(1, expanded.sources, expanded.weight.round())
    assert torch.equal(summed, weight.round())
    plain = split(weight, 5)
    assert torch.equal(torch.zeros_like(weight).index_add(1, plain.sources, plain.weight), weight)


def test_clipping_is_that_of_the_weight_before_the_split(golden: Golden) -> None:
    weight = torch.from_numpy(golden("ocs")["w"])
    rounded = OCS(0.05).quantize(layer(weight, 4, "mse")).weight
    threshold = quantize_weight(weight, WeightFormat(4, "symmetric", "tensor", "mse")).abs().max()
    steps = rounded * 7 / threshold
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert rounded.abs().max() > threshold  # a split channel reaches twice as far


@pytest.mark.parametrize(
    ("shape", "groups", "reason"),
    [
        ((4, 3, 3, 3), 1, "it sees an image"),
        ((4, 8), 1, "a linear layer"),
        ((8, 1, 3, 3), 8, "8 groups, which a copy of a channel would break"),
    ],
)
def test_layers_that_are_not_split(shape: tuple[int, ...], groups: int, reason: str) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    shown = layer(weight, groups=groups)
    rounded = OCS(0.05).quantize(shown)
    assert torch.equal(rounded.weight, quantize_weight(weight, shown.format))
    assert rounded.size_bits is None
    assert rounded.warning == f"rounded to the nearest, not split: {reason}"


def test_what_it_cannot_do() -> None:
    for scheme, granularity, key in (
        ("affine", "tensor", "w_scheme=symmetric"),
        ("symmetric", "channel", "w_granularity=tensor"),
    ):
        with pytest.raises(NotApplicable, match=f"set quant.{key}$"):
            OCS().check(WeightFormat(4, scheme, granularity))
    OCS().check(WeightFormat(4, "symmetric", "tensor", "mse"))
    assert not OCS(0.05).quantize(layer(torch.zeros(4, 8, 3, 3))).weight.any()
    said = "quant.rounding_variant=sequential cannot be represented; choose one of: naive, release"
    with pytest.raises(BenchError) as caught:
        QuantSpec(4, 32, rounding="ocs", rounding_variant="sequential")
    assert str(caught.value) == said
    for ratio in (-0.1, 1, True, "1 %", None):
        with pytest.raises(BenchError, match=r"^quant\.rounding_ratio=.*; give a number from 0 to"):
            QuantSpec(4, 32, rounding_ratio=ratio)
