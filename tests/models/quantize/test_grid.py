"""Properties of the integer grids, and cases worked out by hand."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.quantize.grid import (
    GRIDS,
    affine_grid,
    fake_quantize,
    symmetric_grid,
    value_range,
)
from models.quantize.ranges import WeightFormat, quantize_weight

EPSILON = torch.finfo(torch.float32).eps
BITS = st.integers(2, 16)
SCHEMES = st.sampled_from(sorted(GRIDS))
VALUES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40)

quick = settings(max_examples=50)


def on_own_grid(x: Tensor, bits: int, scheme: str) -> Tensor:
    return fake_quantize(x, GRIDS[scheme](*value_range(x, None), bits))


def grid(scheme: str, low: float, high: float, bits: int) -> "tuple[Tensor, ...]":
    return GRIDS[scheme](torch.tensor(low), torch.tensor(high), bits)


@pytest.mark.parametrize(
    ("scheme", "low", "high", "bits", "pairs"),
    [
        # s = 3 / 3 = 1, z = round(-1) + 2 = 1: levels -1, 0, 1, 2. Ties go to the even q, not to
        # the even level: -0.5 is q = -1.5 -> -2, level -1.
        (
            "affine",
            *(-1.0, 2.0, 2),
            [(-7, -1), (-1, -1), (-0.5, -1), (-0.4, 0), (0.6, 1), (1.5, 1), (1.6, 2), (5, 2)],
        ),
        # s = 7 / 1.75 = 4, z = -4 + 4 = 0: levels -1, -0.75, ..., 0.75.
        ("affine", *(-1.0, 0.75, 3), [(0.3, 0.25), (-0.9, -1), (-0.8, -0.75), (0.0, 0), (2, 0.75)]),
        # s = 3 / 1.5 = 2, z = 20 + 2 = 22, outside -2..1: levels 10, 10.5, 11, 11.5; no zero.
        ("affine", *(10.0, 11.5, 2), [(10.3, 10.5), (10.2, 10), (0.0, 10), (99, 11.5)]),
        # T = 2, s = 3 / 2: levels -2, -4/3, -2/3, 0, 2/3, 4/3, 2.
        (
            "symmetric",
            *(-2.0, 1.5, 3),
            [(0.4, 2 / 3), (-0.4, -2 / 3), (0.3, 0), (1.5, 4 / 3), (-5, -2), (5, 2)],
        ),
        # Nowhere negative: s = 3 / 3 over [0, 3], levels 0, 1, 2, 3.
        ("symmetric", *(0.5, 3.0, 2), [(0.4, 0), (0.6, 1), (2.6, 3), (-4, 0), (9, 3)]),
    ],
)
def test_by_hand(
    scheme: str, low: float, high: float, bits: int, pairs: list[tuple[float, float]]
) -> None:
    given_values, expected = (torch.tensor([float(p[i]) for p in pairs]) for i in (0, 1))
    found = fake_quantize(given_values, GRIDS[scheme](torch.tensor(low), torch.tensor(high), bits))
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_fields_by_hand() -> None:
    found = grid("affine", -1.0, 2.0, 2)
    assert [float(field) for field in found] == [1.0, 1.0, -2.0, 1.0, 3.0, 2.0]
    found = grid("symmetric", -2.0, 1.5, 3)
    assert [float(field) for field in found] == [1.5, 0.0, -3.0, 3.0, 6.0, 3.0]


@given(VALUES, BITS, SCHEMES)
@quick
def test_quantizing_again_changes_nothing(values: list[float], bits: int, scheme: str) -> None:
    x = torch.tensor(values)
    own = GRIDS[scheme](*value_range(x, None), bits)
    # A range 1e5 times nearer to a point than to zero is finer than float32 can tell there.
    assume(own.zero_point.abs() < 2**20)
    once = fake_quantize(x, own)
    assert torch.equal(fake_quantize(once, own), once)


@given(VALUES, BITS, SCHEMES)
@quick
def test_monotone(values: list[float], bits: int, scheme: str) -> None:
    quantized = on_own_grid(torch.tensor(values).sort().values, bits, scheme)
    assert bool((quantized.diff() >= 0).all())


@given(VALUES, BITS, SCHEMES)
@quick
def test_error_is_at_most_half_a_step(values: list[float], bits: int, scheme: str) -> None:
    x = torch.tensor(values)
    own = GRIDS[scheme](*value_range(x, None), bits)
    rounding = 8 * EPSILON * x.abs().max()
    assert bool(((fake_quantize(x, own) - x).abs() <= 0.5 / own.inverse_scale + rounding).all())


@given(VALUES, st.integers(2, 4), SCHEMES)
@quick
def test_no_more_than_two_to_the_b_levels(values: list[float], bits: int, scheme: str) -> None:
    x = torch.tensor(values)
    fine = torch.linspace(float(x.min()) - 1, float(x.max()) + 1, 500)
    quantized = fake_quantize(fine, GRIDS[scheme](*value_range(x, None), bits))
    assert len(quantized.unique()) <= 2**bits


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize(
    ("scheme", "low", "unused"), [("affine", -0.5, 0), ("symmetric", -1, 1), ("symmetric", 0, 0)]
)
def test_every_level_is_used(scheme: str, low: float, unused: int, bits: int) -> None:
    x = torch.linspace(low, 1, 5 * 2**bits)
    assert len(on_own_grid(x, bits, scheme).unique()) == 2**bits - unused


@given(VALUES, BITS)
@quick
def test_symmetric_grid_is_odd_and_holds_zero(values: list[float], bits: int) -> None:
    x = torch.tensor([*values, -1.0])  # the sign is needed
    own = symmetric_grid(*value_range(x, None), bits)
    assert torch.equal(fake_quantize(-x, own), -fake_quantize(x, own))
    assert fake_quantize(torch.zeros(1), own).item() == 0


@given(VALUES, BITS)
@quick
def test_affine_grid_holds_zero_where_the_range_does(values: list[float], bits: int) -> None:
    own = affine_grid(*value_range(torch.tensor([*values, 0.0]), None), bits)
    assert fake_quantize(torch.zeros(1), own).item() == 0


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0.01, 10))
@quick
def test_affine_grid_is_torchs_where_torch_has_one(seed: int, bits: int, scale: float) -> None:
    x = torch.randn(200, generator=torch.Generator().manual_seed(seed)) * scale
    own = affine_grid(*value_range(x, None), bits)
    assume(-own.q_max <= own.zero_point <= -own.q_min)
    steps = own.inverse_scale * x
    clear = ((steps - steps.floor()) - 0.5).abs() > 1e-3  # a tie may fall either way
    theirs = torch.fake_quantize_per_tensor_affine(
        x, float(1 / own.inverse_scale), -int(own.zero_point), int(own.q_min), int(own.q_max)
    )
    gap = (fake_quantize(x, own) - theirs).abs()[clear]
    assert clear.sum() > 150
    assert float(gap.max()) <= 1e-6 * max(1, scale)


@given(st.integers(0, 10**6), BITS, st.sampled_from([(5, 3, 2, 2), (4, 7)]))
@quick
def test_a_channels_grid_is_that_channels_own(seed: int, bits: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.logspace(-2, 1, shape[0]).view(-1, *[1] * (len(shape) - 1))
    weight = torch.randn(shape, generator=generator) * factors
    by_channel = quantize_weight(weight, WeightFormat(bits, "affine", "channel"))
    alone = [quantize_weight(row, WeightFormat(bits, "affine", "tensor")) for row in weight]
    assert by_channel.shape == weight.shape
    assert torch.equal(by_channel, torch.stack(alone))
    one = weight[:1]
    assert torch.equal(
        quantize_weight(one, WeightFormat(bits, "symmetric", "tensor")),
        quantize_weight(one, WeightFormat(bits, "symmetric", "channel")),
    )


def test_channels_of_different_size_need_their_own_grids() -> None:
    weight = torch.tensor([[-100.0, 100.0], [-0.1, 0.1]])
    assert torch.allclose(
        quantize_weight(weight, WeightFormat(8, "affine", "channel")), weight, rtol=1e-2
    )
    whole = quantize_weight(weight, WeightFormat(8, "affine", "tensor"))
    assert whole[1].unique().numel() == 1  # a step of 0.78 sees no difference


def test_one_negative_channel_makes_every_channel_signed() -> None:
    weight = torch.tensor([[0.0, 1.0, 3.0], [-3.0, 0.0, 3.0]])
    assert quantize_weight(weight, WeightFormat(2, "symmetric", "channel")).tolist() == [
        [0, 0, 3],
        [-3, 0, 3],
    ]
    assert quantize_weight(weight[:1], WeightFormat(2, "symmetric", "channel")).tolist() == [
        [0, 1, 3]
    ]


def test_range_of_each_channel_broadcasts() -> None:
    x = torch.arange(24.0).view(2, 3, 2, 2)
    low, high = value_range(x, 1)
    assert (low.shape, high.shape) == ((1, 3, 1, 1), (1, 3, 1, 1))
    assert low.flatten().tolist() == [0, 4, 8]
    assert high.flatten().tolist() == [15, 19, 23]
    assert [float(v) for v in value_range(x, None)] == [0, 23]


@pytest.mark.parametrize("scheme", sorted(GRIDS))
@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("value", [-3.0, 0.0, 1e-12, 0.1, 100.0])
def test_constant_tensor_stays_what_it_is(scheme: str, bits: int, value: float) -> None:
    x = torch.full((3, 4), value)
    for granularity in ("tensor", "channel"):
        quantized = quantize_weight(x, WeightFormat(bits, scheme, granularity))
        assert torch.allclose(quantized, x, rtol=1e-6, atol=1e-8)


def test_dtype_and_layout_are_kept() -> None:
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    quantized = on_own_grid(x, 4, "affine")
    assert (quantized.dtype, quantized.shape) == (x.dtype, x.shape)
    assert quantized.is_contiguous(memory_format=torch.channels_last)


@quick
@given(low=st.floats(-100, 0, width=32), high=st.floats(0, 100, width=32), bits=BITS, x=VALUES)
@pytest.mark.parametrize("scheme", sorted(GRIDS))
def test_what_a_compiler_sees_is_the_same(
    scheme: str, low: float, high: float, bits: int, x: list[float]
) -> None:
    own = GRIDS[scheme](torch.tensor(low), torch.tensor(high), bits)
    values = torch.tensor([*x, 0.0, 1e30, -1e30, float("inf"), float("-inf"), float("nan")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        compiled = fake_quantize(values, own)
    torch.testing.assert_close(compiled, fake_quantize(values, own), rtol=0, atol=0, equal_nan=True)
