"""Divergences of Gaussians: computed by hand, and as PyTorch has them."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from methods.distillation.divergence import gaussian_divergence, mean_over_layers
from methods.distillation.matching import Gaps, Targets


def targets(mean: list[float], deviation: list[float], *channels: int) -> Targets:
    pixels = torch.full((len(mean),), 4.0)
    return Targets(channels, pixels, torch.tensor(mean), torch.tensor(deviation), 0.0)


def divergence(of: Targets, mean: Tensor, deviation: Tensor) -> Tensor:
    gaps = Gaps((mean - of.mean)[None], (deviation - of.deviation)[None], None)
    return gaussian_divergence(of, gaps)


def test_of_two_channels() -> None:
    # The first lies one deviation off, the second is twice as wide.
    of = targets([1.0, -1.0], [2.0, 3.0], 2)
    mean = torch.tensor([3.0, -1.0], requires_grad=True)
    deviation = torch.tensor([2.0, 6.0], requires_grad=True)
    found = divergence(of, mean, deviation)
    assert found.tolist() == pytest.approx([0.5, 1.5 - math.log(2)])
    by_mean, by_deviation = torch.autograd.grad(found.sum(), (mean, deviation))
    # (m - mu) / s^2, and d / s^2 - 1 / d.
    assert by_mean.tolist() == pytest.approx([2 / 4, 0])
    assert by_deviation.tolist() == pytest.approx([0, 6 / 9 - 1 / 6])


def test_of_any_is_that_of_pytorch_and_0_for_equals() -> None:
    torch.manual_seed(0)
    mean, deviation = torch.randn(2, 5), torch.rand(2, 5) + 0.1
    of = targets(mean[1].tolist(), deviation[1].tolist(), 5)
    wanted = kl_divergence(Normal(mean[0], deviation[0]), Normal(mean[1], deviation[1]))
    assert torch.allclose(divergence(of, mean[0], deviation[0]), wanted, atol=1e-5)
    assert torch.allclose(divergence(of, of.mean, of.deviation), torch.zeros(5), atol=1e-7)


def test_layers_count_alike_and_the_image_not() -> None:
    of = targets([0.0] * 6, [1.0] * 6, 3, 1, 2)
    values = torch.tensor([100.0, 100.0, 100.0, 4.0, 1.0, 3.0])
    assert float(mean_over_layers(of, values)) == pytest.approx((4 + (1 + 3) / 2) / 2)
