"""The soft weights of a block, by hand and against autograd."""

import pytest
import torch
from torch import nn

from models.quantize.ranges import WeightFormat, weight_grid
from models.quantize.rounding.adaround import rectified_sigmoid
from models.quantize.rounding.soft import SoftWeights, annealed_beta

FORMATS = {
    "a": WeightFormat(3, "affine", "channel", "mse"),
    "b": WeightFormat(2, "symmetric", "tensor"),
}


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(3)
    return {"a": nn.Parameter(torch.randn(4, 3, 3, 3)), "b": nn.Parameter(torch.randn(2, 5))}


def on_grid(weight: torch.Tensor, logits: torch.Tensor, form: WeightFormat) -> torch.Tensor:
    """The formula itself: step (clip(floor + h(V)) + zero point)."""
    grid = weight_grid(weight, form)
    floor = (grid.inverse_scale * weight - grid.zero_point).floor()
    up = rectified_sigmoid(logits)
    q = torch.minimum(torch.maximum(floor + up, grid.q_min), grid.q_max)
    return (q + grid.zero_point) / grid.inverse_scale


def test_beta_falls_on_a_line() -> None:
    found = [annealed_beta(step, 1000) for step in (0, 199, 200, 600, 1000)]
    assert found == [None, None, 20, 11, 2]


def test_weights_and_gradients_are_those_of_the_formula() -> None:
    before = {name: p.detach().clone() for name, p in parameters().items()}
    given = parameters()
    soft = SoftWeights(given, FORMATS, rate=0.05)
    generator = torch.Generator().manual_seed(0)
    logits = soft._logits.clone().add_(torch.randn(soft._logits.shape, generator=generator))
    soft._logits.copy_(logits)
    soft.place()
    pulls = {name: torch.randn(p.shape, generator=generator) for name, p in given.items()}
    free = logits.clone().requires_grad_()
    parts = dict(zip(before, free.split([w.numel() for w in before.values()]), strict=True))
    loss = torch.zeros(())
    for name, weight in before.items():
        wanted = on_grid(weight, parts[name].view(weight.shape), FORMATS[name])
        assert torch.allclose(given[name], wanted, atol=1e-6)
        loss = loss + (wanted * pulls[name]).sum()
    up = rectified_sigmoid(free)
    loss = loss + (0.3 * (1 - (2 * up - 1).abs() ** 3)).sum()
    (wanted_gradient,) = torch.autograd.grad(loss, free)
    soft.descend(list(pulls.values()), 3.0, 0.3)
    assert soft._logits.grad is not None
    assert torch.allclose(soft._logits.grad, wanted_gradient, atol=1e-5)
    moved = (soft._logits - logits).abs()  # Adam's first step is the rate, whatever the gradient
    assert moved[wanted_gradient.abs() > 1e-4].tolist() == pytest.approx(
        [0.05] * int((wanted_gradient.abs() > 1e-4).sum()), rel=1e-2
    )


def test_learning_starts_at_the_weight_and_ends_on_the_grid() -> None:
    before = {name: p.detach().clone() for name, p in parameters().items()}
    given = parameters()
    soft = SoftWeights(given, FORMATS, rate=0.1)
    soft.place()
    inside = soft._slope > 0
    flat = torch.cat([w.flatten() for w in before.values()])
    assert torch.allclose(soft._values[inside], flat[inside], atol=1e-5)
    hard = soft.harden()
    for name, weight in before.items():
        grid = weight_grid(weight, FORMATS[name])
        q = hard[name] * grid.inverse_scale - grid.zero_point
        assert torch.allclose(q, q.round(), atol=1e-4)
        assert (q > grid.q_min - 0.1).all() and (q < grid.q_max + 0.1).all()
        assert given[name].data_ptr() == hard[name].data_ptr()
        # Nobody has learned anything: the nearest.
        assert ((weight - hard[name]).abs() * grid.inverse_scale)[q.abs() < 1].max() <= 0.501
    assert not any(p.requires_grad for p in given.values())
