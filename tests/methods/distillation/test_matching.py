"""Statistics per image and their gradient, and the targets."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from methods.distillation.matching import batch_gaps, gaps_to, statistics_of, targets_of
from models.errors import BenchError

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def inputs_of(network: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The image, what each BatchNorm sees by torch's own hooks, and the output."""
    seen = [x]
    for layer in network.get_submodule("norms").children():
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    output = network(x)
    return seen, output


def statistics(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, C) as torch has them."""
    return x.mean(dim=(2, 3)), torch.sqrt(x.var(dim=(2, 3)) + epsilon)


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gaps_and_gradient_are_those_of_torch(
    tiny_network: nn.Module, layout: torch.memory_format, output: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, 6, generator=generator) + 2
    x = x.contiguous(memory_format=layout).requires_grad_()
    targets = targets_of(tiny_network, x[:1].detach(), 1e-6)
    gaps = gaps_to(targets, tiny_network, x, output)

    exact = x.detach().double().requires_grad_()
    seen, logits = inputs_of(deepcopy(tiny_network).double(), exact)
    pairs = zip(*(statistics(one, 1e-6) for one in seen), strict=True)
    mean, deviation = (torch.cat(v, 1) for v in pairs)
    expected = mean - targets.mean, deviation - targets.deviation
    weights = torch.randn(2, *mean.shape, generator=generator)
    of_gaps, of_exact = (
        ((found[0] - 2 * found[1]) * weights[0] + found[1].square() * weights[1]).sum()
        for found in (gaps[:2], expected)
    )
    if output:
        assert gaps.output is not None
        torch.testing.assert_close(gaps.output.double(), logits, rtol=1e-5, atol=1e-5)
        of_gaps, of_exact = of_gaps + gaps.output.sum(), of_exact + logits.sum()
    for found, wanted in zip(gaps[:2], expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    (of_x,) = torch.autograd.grad(of_gaps, x)
    (wanted,) = torch.autograd.grad(of_exact, exact)
    assert of_x.is_contiguous(memory_format=layout)
    torch.testing.assert_close(of_x.double(), wanted, rtol=1e-4, atol=1e-5)


def test_gaps_in_bfloat16_are_float32_and_nearly_the_same(tiny_network: nn.Module) -> None:
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = targets_of(tiny_network, x[:1], 1e-6)
    full = gaps_to(targets, tiny_network, x, output=True)
    half = gaps_to(targets, tiny_network, x, True, torch.bfloat16)
    image = slice(0, 3)  # the image's own statistics pass no layer
    for found, wanted in zip(half, full, strict=True):
        assert found is not None and wanted is not None
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.02)
        assert not torch.equal(found, wanted)
    assert torch.equal(half.mean[:, image], full.mean[:, image])


def test_a_constant_map_has_a_finite_gradient() -> None:
    x = torch.full((1, 1, 3, 3), 1000.0, requires_grad=True)
    layer = nn.BatchNorm2d(1).eval().requires_grad_(False)
    layer.running_mean = torch.tensor([2.0])
    gaps = gaps_to(targets_of(layer, x.detach(), 1e-6), layer, x)
    assert gaps.mean.tolist() == [[1000, 998]]
    assert gaps.deviation.tolist() == [[pytest.approx(1e-3 - 1), pytest.approx(1e-3 - 1)]]
    (gradient,) = torch.autograd.grad(gaps.deviation.square().sum(), x)
    # Of two terms that cancel, each about 2 * 999 / 8 * 1000, only the rounding is left.
    assert float(gradient.abs().max()) < 2**-23 * 250_000


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


def test_batch_gaps_are_those_over_all_pixels_of_all_images(tiny_network: nn.Module) -> None:
    x = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    x = (x + torch.arange(5).view(5, 1, 1, 1)).requires_grad_()
    targets = targets_of(tiny_network, x[:1].detach(), 1e-6)
    gaps = batch_gaps(targets, statistics_of(targets, tiny_network, x))
    exact = x.detach().double().requires_grad_()
    seen, _ = inputs_of(deepcopy(tiny_network).double(), exact)
    mean = torch.cat([one.mean((0, 2, 3)) for one in seen])
    deviation = torch.cat([(one.var((0, 2, 3), correction=0) + 1e-6).sqrt() for one in seen])
    wanted = mean - targets.mean, deviation - targets.deviation
    for found, expected in zip(gaps[:2], wanted, strict=True):
        torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=1e-5)
    (of_x,) = torch.autograd.grad(gaps.mean.square().sum() + gaps.deviation.square().sum(), x)
    (of_exact,) = torch.autograd.grad(sum(gap.square().sum() for gap in wanted), exact)
    torch.testing.assert_close(of_x.double(), of_exact, rtol=1e-4, atol=1e-5)


def test_one_image_is_a_batch_too(tiny_network: nn.Module) -> None:
    x = torch.randn(1, 3, 4, 4)
    targets = targets_of(tiny_network, x, 1e-6)
    gaps = batch_gaps(targets, statistics_of(targets, tiny_network, x))
    assert gaps.mean.shape == gaps.deviation.shape == (1, 15)
    assert torch.equal(gaps.mean, gaps_to(targets, tiny_network, x).mean)
