"""Statistics per image and their gradient, the targets, and the optimisation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from methods import distill
from methods.base import Context
from methods.distill import Schedule, gaps_to, optimise, targets_of
from models.errors import BenchError

MakeContext = Callable[..., Context]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def statistics(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, C) as torch has them."""
    return x.mean(dim=(2, 3)), torch.sqrt(x.var(dim=(2, 3)) + epsilon)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [2**20, 100, 1])
def test_statistics_and_gradient_are_those_of_torch(
    layout: torch.memory_format, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.01, 1.0, 30.0]).view(1, 3, 1, 1)
    x = (torch.randn(5, 3, 4, 6, generator=generator) + 2) * scale
    x = x.contiguous(memory_format=layout).requires_grad_()
    layer = nn.BatchNorm2d(3).eval().requires_grad_(False)
    layer.running_mean = torch.tensor([0.5, 1.0, 1.5])
    gaps = gaps_to(targets_of(layer, x[:1].detach(), 1e-6), layer, x)

    exact = x.detach().double().requires_grad_()
    mean, deviation = statistics(exact, 1e-6)
    expected_mean = torch.cat([mean, mean - layer.running_mean], 1)
    expected_deviation = torch.cat([deviation - 1, deviation - (1 + 1e-6) ** 0.5], 1)
    torch.testing.assert_close(gaps.mean.double(), expected_mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gaps.deviation.double(), expected_deviation, rtol=1e-5, atol=1e-5)

    weights = torch.randn(gaps.mean.shape, generator=generator)
    of_gaps = ((gaps.mean - 2 * gaps.deviation) * weights).square().sum()
    of_exact = ((expected_mean - 2 * expected_deviation) * weights).square().sum()
    (found,) = torch.autograd.grad(of_gaps, x)
    (expected,) = torch.autograd.grad(of_exact, exact)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_constant_map_has_a_finite_gradient() -> None:
    x = torch.full((1, 1, 3, 3), 1000.0, requires_grad=True)
    layer = nn.BatchNorm2d(1).eval().requires_grad_(False)
    layer.running_mean = torch.tensor([2.0])
    gaps = gaps_to(targets_of(layer, x.detach(), 1e-6), layer, x)
    assert gaps.mean.tolist() == [[1000, 998]]
    assert gaps.deviation.tolist() == [[pytest.approx(1e-3 - 1), pytest.approx(1e-3 - 1)]]
    (gradient,) = torch.autograd.grad(gaps.deviation.square().sum(), x)
    assert not gradient.any()


def test_targets(tiny_network: nn.Module) -> None:
    targets = targets_of(tiny_network, torch.zeros(1, 3, 8, 8), 0.25)
    assert (targets.channels, targets.layers) == ((3, 4, 4, 4), 3)
    assert targets.pixels.tolist() == [64] * 15
    means = [0, 0, 0, 0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5]
    assert (targets.mean * 10).tolist() == pytest.approx(means)
    variances = [1.0] * 3 + [0.25] * 4 + [0.5] * 4 + [0.75] * 4
    assert (targets.deviation**2 - 0.25).tolist() == pytest.approx(variances)
    spread = targets.per_channel(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]))
    assert spread[0].tolist() == [1] * 3 + [2] * 4 + [3] * 4 + [4] * 4
    assert spread[1].tolist() == [5] * 3 + [6] * 4 + [7] * 4 + [8] * 4


def test_the_head_runs_only_when_its_output_is_needed(tiny_network: nn.Module) -> None:
    runs: list[int] = []
    tiny_network.get_submodule("head").register_forward_hook(lambda *_: runs.append(1))
    x = torch.randn(2, 3, 8, 8)
    targets = targets_of(tiny_network, x[:1], 1e-6)
    runs.clear()
    without = gaps_to(targets, tiny_network, x)
    assert without.output is None
    assert not runs
    gaps = gaps_to(targets, tiny_network, x, output=True)
    assert gaps.output is not None
    assert gaps.output.shape == (2, 5)
    assert torch.equal(gaps.mean, without.mean)
    assert torch.equal(gaps.deviation, without.deviation)


def test_broken_statistics_are_found_first() -> None:
    with pytest.raises(BenchError, match="as before any training"):
        targets_of(nn.BatchNorm2d(3), torch.zeros(1, 3, 1, 1), 1e-6)


def test_optimise_minimises(make_context: MakeContext) -> None:
    start = torch.zeros(2, 3, 8, 8)
    schedule = Schedule(iterations=200, learning_rate=0.1, min_learning_rate=1e-4, patience=100)
    found = optimise(start, lambda x: (x - 0.5).square().sum(), schedule, make_context())
    assert found.curve[0] == pytest.approx(2 * 3 * 64 * 0.25)
    torch.testing.assert_close(found.images, torch.full_like(start, 0.5), atol=1e-2, rtol=0)
    assert not start.any()


def test_a_loss_that_is_not_finite_stops_at_once(make_context: MakeContext) -> None:
    schedule = Schedule(iterations=100, learning_rate=0.1, min_learning_rate=1e-4, patience=100)
    steps: list[int] = []
    context = make_context(progress=lambda done, total, loss=None: steps.append(done))
    with pytest.raises(
        BenchError, match=r"^the loss is nan at step 3; lower the .* learning rate$"
    ):
        optimise(
            torch.ones(1, 3, 8, 8),
            lambda x: x.sum() * (1 if len(steps) < 2 else float("nan")),
            schedule,
            context,
        )
    assert steps == [1, 2]
