"""The surrogate gradients: values worked out by hand, and what autograd makes of them."""

import math
from dataclasses import replace

import pytest
import torch

from models.errors import BenchError
from models.qat.activations import Inputs, make_activation_quantizer
from models.qat.spec import SURROGATES, QatSpec
from models.qat.surrogate import (
    Surrogate,
    gradient_scale,
)
from models.qat.weights import make_weight_quantizer

# tanh(1) = 0.761594, arctanh(0.475) = ln(59 / 21) / 2 = 0.516508,
# arctanh(0.95) = ln(39) / 2 = 1.831781, sin(pi / 4) = 0.707107.
BY_HAND = [
    ("ste", "release", 0.25, 1, 1.0),
    ("ste", "slides", -0.4, -1, 1.0),
    ("pbgs", "release", 0.25, 1, 1.025),
    ("pbgs", "release", -0.25, 1, 1.025),
    ("pbgs", "slides", -0.25, -1, 1.025),
    ("ewgs", "release", 0.25, 1, 1.025),
    ("ewgs", "release", 0.25, -1, 0.975),
    ("ewgs", "slides", -0.25, -1, 1.025),
    ("acos", "release", 0.25, 1, 1.0353553),
    ("acos", "release", -0.25, -1, 0.9646447),
    ("acos", "slides", 0.25, -1, 1.0707107),
    ("tanh", "release", 0.25, 1, 1.0380797),
    ("tanh", "release", 0.25, -1, 0.9619203),
    ("tanh", "slides", -0.25, 1, 0.9238406),
    ("invtanh", "release", 0.25, 1, 1.0140985),
    ("invtanh", "release", 0.5, 1, 1.05),
    ("invtanh", "release", 0.5, -1, 0.95),
    ("invtanh", "slides", 0.25, -1, 0.9483492),
    ("invtanh", "slides", 0.5, 1, 1.1831781),
]


@pytest.mark.parametrize(("name", "variant", "t", "sign", "expected"), BY_HAND)
def test_scale_by_hand(name: str, variant: str, t: float, sign: int, expected: float) -> None:
    t64, s64 = torch.tensor(t).double(), torch.tensor(sign).double()
    assert gradient_scale(name, t64, s64, 0.1, variant).item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("variant", ["release", "slides"])
def test_gradient_through_rounding_is_gradient_times_scale(name: str, variant: str) -> None:
    x = torch.tensor([0.3, 1.5, 2.5, -0.75, -2.0, 3.49], requires_grad=True)
    g = torch.tensor([1.0, -2.0, 0.5, -0.25, 3.0, 0.0])
    rounded = Surrogate(name, 0.05, variant).round(x)
    assert rounded.tolist() == [0.0, 2.0, 2.0, -1.0, -2.0, 3.0]  # ties to even
    (got,) = torch.autograd.grad(rounded, x, g)
    t = torch.tensor([0.3, -0.5, 0.5, 0.25, 0.0, 0.49])
    assert torch.allclose(got, g * gradient_scale(name, t, g.sign(), 0.05, variant), atol=1e-7)


def test_the_default_is_the_straight_through_estimator() -> None:
    x = torch.tensor([0.3, -1.2], requires_grad=True)
    (got,) = torch.autograd.grad(Surrogate().round(x), x, torch.tensor([0.7, -0.1]))
    assert got.tolist() == pytest.approx([0.7, -0.1])


@pytest.mark.parametrize("name", SURROGATES)
def test_release_scales_stay_within_half_a_delta(name: str) -> None:
    t = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    for sign in (-1.0, 1.0):
        bend = gradient_scale(name, t, torch.full_like(t, sign), 1.0) - 1
        assert bend.abs().max() <= 0.5 + 1e-12
        assert bend[50] == 0  # on the grid point
        if name in ("ewgs", "invtanh"):
            assert bend[-1].item() == pytest.approx(0.5 * sign)


@pytest.mark.parametrize(
    ("name", "deviation", "most"),
    [("gaussian_noise", 1.0, math.inf), ("uniform_noise", 12**-0.5, 0.5)],
)
def test_noise_is_drawn_for_each_value_at_each_step(
    name: str, deviation: float, most: float
) -> None:
    x, g = torch.zeros(20_000, requires_grad=True), torch.full((20_000,), 2.0)

    def bend(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        (got,) = torch.autograd.grad(Surrogate(name, 0.1).round(x), x, g)
        return (got / g - 1) / 0.1

    with torch.random.fork_rng(devices=[]):
        noise, again, other = bend(0), bend(0), bend(1)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(deviation, rel=0.02)
    assert noise.abs().max() <= most + 1e-5
    assert torch.equal(noise, again)  # of PyTorch's generator, which checkpoints keep
    assert not torch.equal(noise, other)


def test_floor_measures_from_the_middle_of_its_interval() -> None:
    x = torch.tensor([0.0, 0.75, 1.5, 3.9, 4.0], dtype=torch.float64, requires_grad=True)
    surrogate = Surrogate("ewgs", 0.1)
    floored = surrogate.floor(x, top=3)
    assert floored.tolist() == [0.0, 0.0, 1.0, 3.0, 3.0]
    (got,) = torch.autograd.grad(floored.sum(), x)
    assert got.tolist() == pytest.approx([0.95, 1.025, 1.0, 1.04, 1.05])


def test_unknown_names_are_one_line() -> None:
    x = torch.zeros(1)
    with pytest.raises(BenchError, match="unknown surrogate 'ewg'; did you mean 'ewgs'"):
        Surrogate("ewg")
    with pytest.raises(BenchError, match="unknown surrogate 'invtan'; did you mean 'invtanh'"):
        gradient_scale("invtan", x, x)
    with pytest.raises(BenchError, match=r"unknown variant 'slide' .*did you mean 'slides'"):
        Surrogate("ewgs", variant="slide")
    with pytest.raises(BenchError, match=r"unknown delta_unit 'steps' .*did you mean 'step'"):
        Surrogate("ewgs", delta_unit="steps")


# Steps between the lowest and the highest level at 3 bits, with and without a sign; the grid of
# `modified` and `centered` has 8 steps in the range of the weights.
STEPS = [
    (QatSpec(weight_quantizer="dorefa", scheme="original", rescale="none"), 7, None),
    (QatSpec(weight_quantizer="dorefa", rescale="none"), 8, None),
    (QatSpec(weight_quantizer="lsq", activation_quantizer="lsq"), 7, 7),
    (QatSpec(weight_quantizer="step_range", activation_quantizer="step_range"), 6, 7),
    (QatSpec(weight_quantizer="uniform_static", activation_quantizer="uniform_static"), 6, 7),
    (QatSpec(activation_quantizer="pact"), None, 7),
    (QatSpec(activation_quantizer="dorefa"), None, 7),
]


@pytest.mark.parametrize(("spec", "of_weights", "of_inputs"), STEPS)
def test_a_delta_of_the_range_is_that_of_a_step_times_the_steps(
    spec: QatSpec, of_weights: int | None, of_inputs: int | None
) -> None:
    x = torch.rand(64, generator=torch.Generator().manual_seed(0)).reshape(4, 16)
    inputs = Inputs(signed=False, magnitude=0.5, high=0.9)
    ewgs = replace(spec, weight_surrogate="ewgs", activation_surrogate="ewgs")

    def gradients(of: QatSpec, weights: bool) -> list[float]:
        given = x.clone().requires_grad_()
        make = make_weight_quantizer if weights else make_activation_quantizer
        rest = (given,) if weights else (inputs, 1.0)
        make(of, [3], *rest)(given, 3).sum().backward()  # type: ignore[operator]
        assert given.grad is not None
        return given.grad.flatten().tolist()

    for steps, weights in ((of_weights, True), (of_inputs, False)):
        if steps is not None:
            in_range = gradients(replace(ewgs, delta=0.7, delta_unit="range"), weights)
            in_steps = gradients(replace(ewgs, delta=0.7 / steps), weights)
            assert in_range == pytest.approx(in_steps, rel=1e-6)
            assert in_range != pytest.approx(gradients(ewgs, weights), rel=1e-3)


def test_slides_and_release_differ_by_their_factor() -> None:
    t, sign = torch.tensor([0.3]).double(), torch.tensor([1.0]).double()
    for name, factor in (("acos", 0.5), ("tanh", 0.5), ("invtanh", 0.5 / math.atanh(0.95))):
        release = gradient_scale(name, t, sign, 1.0, "release") - 1
        slides = gradient_scale(name, t, sign, 1.0, "slides") - 1
        assert release.item() == pytest.approx(slides.item() * factor)
