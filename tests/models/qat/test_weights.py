"""Weight quantizers: levels and gradients worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from models.errors import BenchError
from models.qat.learned import RANGE_BOUNDS
from models.qat.spec import RESCALES, QatSpec
from models.qat.surrogate import Surrogate
from models.qat.weights import (
    DoReFaWeight,
    LsqWeight,
    StepRangeWeight,
    UniformStaticWeight,
    make_weight_quantizer,
)

STE = Surrogate()
# tanh(w) / max |tanh(w)| is 1, 0.6, 0.2, -0.1, -0.4, -1.
UNIT = torch.tensor([1.0, 0.6, 0.2, -0.1, -0.4, -1.0], dtype=torch.float64)
TANH = UNIT * 0.5


def weight() -> Tensor:
    return torch.atanh(TANH).reshape(2, 3).requires_grad_()


def random_weight(seed: int = 0) -> Tensor:
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize(
    ("scheme", "bits", "levels"),
    [
        # u = 1, 0.8, 0.6, 0.45, 0.3, 0; 3 u = 3, 2.4, 1.8, 1.35, 0.9, 0.
        ("original", 2, [1, 1 / 3, 1 / 3, -1 / 3, -1 / 3, -1]),
        ("original", 1, [1, 1, 1, -1, -1, -1]),
        # 4 u = 4, 3.2, 2.4, 1.8, 1.2, 0: 3, 3, 2, 1, 1, 0 fourths.
        ("modified", 2, [0.5, 0.5, 0, -0.5, -0.5, -1]),
        ("centered", 2, [0.75, 0.75, 0.25, -0.25, -0.25, -0.75]),
        ("centered", 1, [0.5, 0.5, 0.5, -0.5, -0.5, -0.5]),
    ],
)
def test_dorefa_levels_by_hand(scheme: str, bits: int, levels: list[float]) -> None:
    quantizer = DoReFaWeight([bits], STE, scheme, "none")
    assert quantizer(weight(), bits).flatten().tolist() == pytest.approx(levels)


def test_dorefa_passes_gradients_through_the_normalisation() -> None:
    given = weight()
    quantized = DoReFaWeight([2], STE, "original", "none")(given, 2)
    (got,) = torch.autograd.grad(quantized[0, 2], given)
    # u = (tanh(w) / m + 1) / 2 with m = tanh(w_0): d/dw_i = (1 - tanh^2) / m, and at w_0, which is
    # tied with w_5 for the largest magnitude, half of -tanh(w_2) (1 - m^2) / m^2.
    assert got[0, 2].item() == pytest.approx((1 - 0.1**2) / 0.5)
    assert got[0, 0].item() == pytest.approx(-0.1 * (1 - 0.5**2) / 0.5**2 / 2)


def test_the_surrogate_acts_on_the_distance_in_steps() -> None:
    given = weight()
    plain = DoReFaWeight([2], STE, "original", "none")(given, 2)[1, 0]
    bent = DoReFaWeight([2], Surrogate("ewgs", 0.1), "original", "none")(given, 2)[1, 0]
    (g,), (h,) = torch.autograd.grad(plain, given), torch.autograd.grad(bent, given)
    # 3 u = 1.35 is rounded to 1: t = 0.35, and the gradient there is positive.
    assert (h / g)[1, 0].item() == pytest.approx(1 + 0.1 * 0.35)


def test_rescales_reach_their_targets() -> None:
    w = random_weight()
    for rescale, target in (("constant", (4 * 9) ** -0.5), ("stddev", w.std().item())):
        quantized = DoReFaWeight([3], STE, "centered", rescale)(w, 3)
        assert quantized.std().item() == pytest.approx(target, rel=1e-5)
    none = DoReFaWeight([3], STE, "centered", "none")(w, 3)
    mean = DoReFaWeight([3], STE, "centered", "mean")(w, 3)
    assert torch.allclose(mean, none * w.abs().mean())


def test_a_weight_without_spread_is_not_rescaled() -> None:
    one = DoReFaWeight([2], STE, "original", "constant")(torch.tensor([[0.3]]), 2)
    zeros = DoReFaWeight([2], STE, "modified", "constant")(torch.zeros(2, 2), 2)
    assert one.tolist() == [[1.0]]
    assert zeros.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_lsq_by_hand() -> None:
    w = torch.tensor([[0.3, -0.8], [2.5, -2.2]], requires_grad=True)
    quantizer = LsqWeight([3, 2], STE, "tensor", w)
    # mean |w| = 1.45; Q_max = 3 and 1.
    assert quantizer.step["3"].item() == pytest.approx(2.9 / math.sqrt(3))
    assert quantizer.step["2"].item() == pytest.approx(2.9)
    quantizer.step["3"].data.fill_(0.5)
    quantized = quantizer(w, 3)
    # w / s = 0.6, -1.6, 5, -4.4: to 1, -2, clipped to 3, -4.
    assert quantized.tolist() == [[0.5, -1.0], [1.5, -2.0]]
    quantized.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    # (1 - 0.6) + (-2 + 1.6) + 3 - 4 = -1, times 1 / sqrt(4 x 3).
    assert quantizer.step["3"].grad.item() == pytest.approx(-1 / math.sqrt(12))
    assert quantizer.step["2"].grad is None


def test_lsq_by_channel_has_one_step_an_output() -> None:
    w = torch.tensor([[[[1.0]], [[3.0]]], [[[-0.1]], [[0.3]]]], requires_grad=True)
    quantizer = LsqWeight([2], STE, "channel", w)
    assert quantizer.step["2"].shape == (2, 1, 1, 1)
    assert quantizer.step["2"].flatten().tolist() == pytest.approx([4.0, 0.4])
    quantizer(w, 2)[0].sum().backward()
    # First channel: (0 - 0.25) + (1 - 0.75), each weight of 2, Q_max = 1; the second is not used.
    assert quantizer.step["2"].grad.flatten().tolist() == pytest.approx([0.0, 0.0])
    quantizer.zero_grad()
    (quantizer(w, 2) * torch.tensor([2.0, 1.0]).view(1, 2, 1, 1))[0].sum().backward()
    assert quantizer.step["2"].grad.flatten().tolist() == pytest.approx([-0.25 / 2**0.5, 0.0])


def test_lsq_keeps_the_range_of_another_bit_width() -> None:
    w = random_weight()
    quantizer = LsqWeight([8, 4, 2], STE, "channel", w)
    quantizer.step["8"].data.mul_(1.7)
    top = 127 * quantizer.step["8"].detach()
    quantizer.copy_private(8)
    assert torch.allclose(7 * quantizer.step["4"], top)
    assert torch.allclose(quantizer.step["2"], top)


def test_step_and_range_by_hand() -> None:
    w = torch.tensor([[0.3, -0.8], [2.5, -2.0]], dtype=torch.float64, requires_grad=True)
    quantizer = StepRangeWeight([3], STE, "tensor", w)
    # mean 0; population std sqrt((0.09 + 0.64 + 6.25 + 4) / 4).
    xmax = 3 * math.sqrt(10.98 / 4)
    assert quantizer.xmax["3"].item() == pytest.approx(xmax)
    assert quantizer.step["3"].item() == pytest.approx(1.0)  # xmax / 3 = 1.66 is out of bounds
    quantizer.step["3"].data.fill_(0.75)
    quantizer.xmax["3"].data.fill_(1.6)
    quantized = quantizer(w, 3)
    # 0.3 -> 0.4 d, -0.8 -> -1.07 d, 1.6 = 2.13 d, -1.6.
    assert quantized.flatten().tolist() == pytest.approx([0.0, -0.75, 1.5, -1.5])
    # d: (0 - 0.4) + 2 (-1 + 1.0667) - (2 - 2.1333); xmax: 1 - 3 of what is clipped.
    factors = torch.tensor([[1.0, 2.0], [-1.0, 0.0]], dtype=torch.float64)
    quantized.backward(factors, retain_graph=True)
    assert w.grad is not None
    assert w.grad.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    by_hand = -0.4 + 2 * (-1 + 0.8 / 0.75) - (2 - 1.6 / 0.75)
    assert quantizer.step["3"].grad.item() == pytest.approx(by_hand)
    assert quantizer.xmax["3"].grad.item() == pytest.approx(-0.75)  # -1, limited to d


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_step_and_range_starts_at_the_bits_asked_for(granularity: str, bits: int) -> None:
    quantizer = StepRangeWeight([bits], STE, granularity, 0.1 * random_weight())
    levels = quantizer.xmax[str(bits)] / quantizer.step[str(bits)]
    assert levels.flatten().tolist() == pytest.approx([2 ** (bits - 1) - 1] * levels.numel())


def test_a_static_range_by_hand() -> None:
    w = torch.tensor([[0.3, -0.8], [2.5, -2.0]], dtype=torch.float64, requires_grad=True)
    quantizer = UniformStaticWeight([3], STE, "tensor", w)
    quantizer.xmax.fill_(1.5)
    # Steps of 0.5: 0.6, -1.6, and 3, -3 where clipped.
    quantized = quantizer(w, 3)
    assert quantized.flatten().tolist() == pytest.approx([0.5, -1.0, 1.5, -1.5])
    quantized.backward(torch.ones_like(w))
    assert w.grad is not None
    assert w.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert not list(quantizer.parameters())


def test_projection_restores_the_bounds() -> None:
    quantizer = StepRangeWeight([4, 2], STE, "tensor", random_weight())
    quantizer.step["4"].data.fill_(-3.0)
    quantizer.xmax["4"].data.fill_(1e6)
    quantizer.step["2"].data.fill_(0.9)
    quantizer.xmax["2"].data.fill_(0.5)
    quantizer.project()
    assert quantizer.step["4"].item() == 2.0**-12
    assert quantizer.xmax["4"].item() == RANGE_BOUNDS[1]
    assert quantizer.step["2"].item() == quantizer.xmax["2"].item() == 0.5


def test_a_weight_of_zeros_stays_finite() -> None:
    zeros = torch.zeros(2, 2, requires_grad=True)
    for kind in ("dorefa", "lsq", "step_range", "uniform_static"):
        spec = QatSpec(weight_quantizer=kind, scheme="original", rescale="none")
        quantized = make_weight_quantizer(spec, [4], zeros)(zeros, 4)
        assert torch.isfinite(quantized).all()


SPECS = [
    *(QatSpec(scheme=s, rescale=r) for s in ("original", "modified", "centered") for r in RESCALES),
    *(
        QatSpec(weight_quantizer=w, granularity=g)
        for w in ("lsq", "step_range", "uniform_static")
        for g in ("tensor", "channel")
    ),
]


def describe(spec: QatSpec) -> str:
    return f"{spec.weight_quantizer}-{spec.scheme}-{spec.rescale}-{spec.granularity}"


@pytest.mark.parametrize("spec", SPECS, ids=describe)
def test_levels_and_identity(spec: QatSpec) -> None:
    w = (0.1 * random_weight(1)).detach().requires_grad_()
    quantizer = make_weight_quantizer(spec, [32, 4, 2], w)
    assert quantizer(w, 32) is w
    for bits in (4, 2):
        quantized = quantizer(w, bits)
        assert all(len(one.unique()) <= 2**bits for one in quantized)
        if spec.granularity == "tensor":
            assert 2 <= len(quantized.unique()) <= 2**bits
        (gradient,) = torch.autograd.grad(quantized.square().sum(), w)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("kind", ["lsq", "step_range", "uniform_static"])
def test_one_bit_without_a_positive_level_is_refused(kind: str) -> None:
    with pytest.raises(BenchError, match="no positive level at 1 bit; give at least 2"):
        make_weight_quantizer(QatSpec(weight_quantizer=kind), [1], random_weight())
    with pytest.raises(BenchError, match="DoReFaWeight has no positive level"):
        DoReFaWeight([4, 1], STE, "modified", "none")


def test_bits_it_is_not_made_for_are_refused() -> None:
    quantizer = make_weight_quantizer(QatSpec(weight_quantizer="lsq"), [8, 4], random_weight())
    with pytest.raises(BenchError, match=r"LsqWeight is made for \[8, 4\] bits, not for 3"):
        quantizer(random_weight(), 3)
