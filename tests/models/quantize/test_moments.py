"""Means and ranges from BatchNorm statistics agree with closed forms where there are any."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal as Distribution

from models.quantize.fold import fold_batchnorm
from models.quantize.moments import (
    Activations,
    Normal,
    Range,
    batchnorm_outputs,
    draw,
    propagate,
    union,
)

MEAN = torch.tensor([-2.0, 0.0, 1.0, 4.0])
DEVIATION = torch.tensor([1.0, 2.0, 0.5, 1.0])


def run(network: nn.Module, outputs: dict[str, Normal], images: Tensor) -> Activations:
    generator = torch.Generator().manual_seed(0)
    return propagate(network.eval(), outputs, images, 6.0, generator, lambda done, total: None)


def closed_form_of_relu(mean: Tensor, deviation: Tensor, bound: float = math.inf) -> Tensor:
    """E[min(max(z, 0), bound)] of a normal z."""
    standard = Distribution(0.0, 1.0)

    def above(limit: float) -> Tensor:
        """E[max(z - limit, 0)]"""
        ratio = (mean - limit) / deviation
        return deviation * standard.log_prob(ratio).exp() + (mean - limit) * standard.cdf(ratio)

    return above(0.0) - (above(bound) if bound < math.inf else 0)


def test_samples_have_exactly_the_moments_and_no_order() -> None:
    samples = draw(Normal(MEAN, DEVIATION), torch.Generator().manual_seed(0))
    assert samples.shape == (256, 4)
    assert torch.allclose(samples.mean(0), MEAN, atol=1e-5)
    assert torch.allclose(samples.std(0, correction=0), DEVIATION, rtol=1e-5)
    assert torch.corrcoef(samples.T).sub(torch.eye(4)).abs().max() < 0.25


@pytest.mark.parametrize(("activation", "bound"), [(nn.ReLU(), math.inf), (nn.ReLU6(), 6.0)])
def test_behind_a_relu_as_in_closed_form(activation: nn.Module, bound: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 2, 1))
    found = run(network, {"0": Normal(MEAN, DEVIATION)}, torch.randn(4, 3, 8, 8))
    wanted = closed_form_of_relu(MEAN, DEVIATION, bound)
    assert torch.allclose(found.means["2"], wanted, rtol=0.01, atol=0.002)
    high = (MEAN + 6 * DEVIATION).clamp(max=bound)
    for (low_and_high,) in (found.inputs["2"], found.relus["1"]):
        assert torch.allclose(low_and_high.low, torch.zeros(4))
        assert torch.allclose(low_and_high.high, high, rtol=1e-5)


def test_without_a_relu_the_range_has_two_sides() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.Conv2d(4, 2, 1))
    all_found = run(network, {"0": Normal(MEAN, DEVIATION)}, torch.randn(4, 3, 5, 5))
    (found,) = all_found.inputs["2"]
    assert torch.allclose(found.low, MEAN - 6 * DEVIATION, rtol=1e-4)
    assert torch.allclose(found.high, MEAN + 6 * DEVIATION, rtol=1e-4)


def test_dead_relu() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    outputs = {"0": Normal(torch.tensor([-9.0, -5.0]), torch.tensor([1.0, 1.0]))}
    found = run(network, outputs, torch.randn(4, 3, 5, 5))
    assert found.means["2"].tolist() == [0, 0]
    assert found.inputs["2"][0].high.tolist() == pytest.approx([0, 1], abs=1e-5)


def test_network_input_has_the_images_means_and_extremes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    images = torch.rand(5, 3, 20, 20) * torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1) - 0.5
    found = run(network, {"0": Normal(MEAN, DEVIATION)}, images)
    assert torch.equal(found.inputs["0"][0].low, images.amin((0, 2, 3)))
    assert torch.equal(found.inputs["0"][0].high, images.amax((0, 2, 3)))
    assert torch.allclose(found.means["0"], images.mean((0, 2, 3)))


class Branches(nn.Module):
    """Two branches that are summed, then a ReLU, a pool and a linear layer."""

    def __init__(self, signed: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 2, 1)
        self.sum, self.relu = nn.Conv2d(2, 2, 1), nn.Identity() if signed else nn.ReLU()
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x) + self.b(x))
        self.sum(x)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("signed", [True, False])
def test_variances_of_branches_add_up_and_pools_pass_ranges_on(signed: bool) -> None:
    a = Normal(torch.tensor([1.0, -3.0]), torch.tensor([3.0, 0.3]))
    b = Normal(torch.tensor([2.0, 1.0]), torch.tensor([4.0, 0.4]))
    found = run(Branches(signed), {"a": a, "b": b}, torch.randn(2, 3, 6, 6))
    mean, deviation = torch.tensor([3.0, -2.0]), torch.tensor([5.0, 0.5])
    low, high = mean - 6 * deviation, mean + 6 * deviation
    for name in ("sum", "head"):
        (range_,) = found.inputs[name]
        tolerance = 0.1 * 6 * deviation  # 256 samples of two layers correlate a little
        wanted_low = low if signed else torch.zeros(2)
        assert bool(((range_.low - wanted_low).abs() <= tolerance).all())
        assert bool(((range_.high - high).abs() <= tolerance).all())
        wanted = mean if signed else closed_form_of_relu(mean, deviation)
        assert torch.allclose(found.means[name], wanted, rtol=0.05, atol=0.01)


def test_relu_that_is_used_twice_may_have_different_channels() -> None:
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 1, 1), relu, nn.Conv2d(1, 2, 1), relu)
    first = Normal(torch.ones(1), torch.ones(1))
    second = Normal(torch.tensor([2.0, 0.5]), torch.ones(2))
    calls = run(network, {"0": first, "2": second}, torch.randn(2, 3, 4, 4)).relus["1"]
    assert [call.high.tolist() for call in calls] == [[7], [8, 6.5]]
    assert union(calls, by_channel=False) == (0, 8)


def test_union() -> None:
    one = Range(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 5.0]))
    two = Range(torch.tensor([-2.0, 1.0]), torch.tensor([0.0, 9.0]))
    assert [end.tolist() for end in union([one, two], by_channel=True)] == [[-2, 0], [1, 9]]
    assert union([one, two], by_channel=False) == (-2, 9)
    assert union([one], by_channel=False) == (-1, 5)


def test_batchnorm_that_is_not_folded() -> None:
    norm = nn.BatchNorm2d(2, eps=0.0).requires_grad_(False)
    norm.weight.copy_(torch.tensor([-2.0, 0.5]))
    norm.bias.copy_(torch.tensor([1.0, 3.0]))
    norm.running_mean, norm.running_var = torch.tensor([5.0, -7.0]), torch.tensor([4.0, 9.0])
    network = nn.Sequential(norm, nn.ReLU(), nn.Conv2d(2, 2, 1))
    found = run(network, {}, torch.randn(2, 2, 4, 4))
    wanted = closed_form_of_relu(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.5]))
    assert torch.allclose(found.means["2"], wanted, rtol=0.01)
    assert torch.allclose(found.inputs["2"][0].high, torch.tensor([13.0, 6.0]), rtol=1e-4)


def test_statistics_of_folded_batchnorms(tiny_network: nn.Module) -> None:
    norm = tiny_network.get_submodule("norms.1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.copy_(torch.tensor([-3.0, 1.0, 2.0, 0.0]))
    norm.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    norm.eps = 0.5  # the running variance is 0.5 too
    found = batchnorm_outputs(tiny_network, torch.zeros(1, 3, 8, 8))
    assert set(found) == {"convs.0", "convs.1", "convs.2"}
    assert found["convs.1"].mean.tolist() == [1, 2, 3, 4]
    wanted = torch.tensor([3.0, 1.0, 2.0, 0.0]) * 0.5**0.5
    assert torch.allclose(found["convs.1"].deviation, wanted)


def test_every_layer_of_a_real_network_is_reached(golden_network: nn.Module) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = batchnorm_outputs(golden_network, x[:1])
    fold_batchnorm(golden_network, x[:1])
    found = run(golden_network, outputs, x)
    assert len(found.inputs) == len(found.means) == 22
    assert len(found.relus) == 19
    spans = [union(calls, False) for calls in (*found.inputs.values(), *found.relus.values())]
    assert all(bool(span.low < span.high) for span in spans)
    assert all(union(calls, False).low == 0 for calls in found.relus.values())
