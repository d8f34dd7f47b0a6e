"""Learned activation steps: the formulas by hand."""

import pytest
import torch
from torch import Tensor

from models.quantize.activation import ActivationQuantizer
from models.quantize.rounding.steps import LearnedSteps, _Quantize


def quantizer(low: float, high: float, bits: int = 2) -> ActivationQuantizer:
    made = ActivationQuantizer(bits, "affine", "tensor")
    made.set_range(torch.tensor(low), torch.tensor(high))
    return made


X = torch.tensor([-0.4, 0.1, 0.8, 1.4, 2.6, 3.4, 4.0])


def test_values_and_gradients_by_hand() -> None:
    # n = 0..3, step 1: -0.4 and 3.4 round to a level that is there, 4.0 does not.
    x, step = X.clone().requires_grad_(), torch.tensor(1.0, requires_grad=True)
    y = _Quantize.apply(x, step, 0.0, 3.0, None)
    assert y.tolist() == [0, 0, 1, 1, 3, 3, 3]
    y.sum().backward()
    assert x.grad is not None and step.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 1, 1, 1, 0]
    inside = [0.4, -0.1, 0.2, -0.4, 0.4, -0.4]  # n - u, and n = 3 where it is clipped
    assert float(step.grad) == pytest.approx(sum(inside) + 3, abs=1e-6)


def test_what_is_dropped_passes_as_it_is() -> None:
    x, step = X.clone().requires_grad_(), torch.tensor(1.0, requires_grad=True)
    kept = torch.tensor([1.0, 0, 1, 0, 1, 1, 0])
    y = _Quantize.apply(x, step, 0.0, 3.0, kept)
    assert y.tolist() == torch.where(kept > 0, torch.tensor([0.0, 0, 1, 1, 3, 3, 3]), X).tolist()
    y.sum().backward()
    assert x.grad is not None and step.grad is not None
    assert x.grad.tolist() == [1] * 7
    assert float(step.grad) == pytest.approx(0.4 + 0.2 + 0.4 - 0.4, abs=1e-6)


@pytest.mark.parametrize("drop", [0.0, 1.0, 0.3])
def test_the_probability_to_drop(drop: float) -> None:
    q = quantizer(0.0, 3.0)
    draws = torch.Generator().manual_seed(0)
    steps = LearnedSteps({"q": q}, 0.1, drop, draws)
    x = torch.full((20_000,), 0.3)
    y: Tensor = steps.forward(q, None)(x)
    assert float((y == 0.3).float().mean()) == pytest.approx(drop, abs=0.01)
    assert set(y.tolist()) <= {0.0, x[0].item()}


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.0, 2.0), (-3.0, 0.0)])
def test_the_zero_point_stays_and_the_step_is_kept(low: float, high: float) -> None:
    q = quantizer(low, high, bits=4)
    before = q.grid
    x = torch.linspace(-4, 4, 41)
    unlearned = LearnedSteps({"q": q}, 0.1)
    assert torch.allclose(unlearned.forward(q, None)(x), q(x), atol=1e-6)
    steps = LearnedSteps({"q": q}, 0.01)
    steps.descend([torch.tensor(-2.0)], 0.0)
    steps.keep()
    assert q.grid.zero_point == before.zero_point
    assert float(1 / q.grid.inverse_scale) == pytest.approx(3 / 15 + 0.01, rel=1e-4)
    assert torch.allclose(steps.forward(q, None)(x), q(x), atol=1e-5)


def test_the_rate_falls_by_half_a_cosine_and_steps_stay_positive() -> None:
    steps = LearnedSteps({"q": quantizer(0.0, 3.0)}, 0.4)
    for done, rate in ((0.0, 0.4), (0.5, 0.2), (1.0, 0.0)):
        before = float(steps.steps[0].detach())
        steps.descend([torch.tensor(1.0)], done)
        assert before - float(steps.steps[0].detach()) == pytest.approx(rate, rel=1e-3, abs=1e-6)
    for _ in range(5):
        steps.descend([torch.tensor(1.0)], 0.0)
    assert float(steps.steps[0].detach()) > 0
