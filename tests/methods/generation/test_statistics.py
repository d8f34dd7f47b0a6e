"""What the statistics of a batch cost a generator: figures of the releases, and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from methods.distillation.matching import image_gaps, statistics_of, targets_of
from methods.generation.statistics import (
    Matched,
    SlackOfPaper,
    SlackOfRelease,
    batch_gaps,
    by_layer,
    slack,
)

Golden = Callable[[str], dict[str, np.ndarray]]


def given(arrays: dict[str, np.ndarray], name: str) -> Tensor:
    return torch.from_numpy(arrays[name])


def close(ours: Tensor, theirs: np.ndarray, tolerance: float = 1e-4) -> bool:
    return float((ours.detach() - torch.from_numpy(theirs)).abs().max()) <= tolerance * float(
        np.abs(theirs).max()
    )


def close_gradient(ours: Tensor, theirs: np.ndarray) -> bool:
    """Whether they agree but for what a ReLU does whose input another processor rounds across 0."""
    wanted = torch.from_numpy(theirs)
    off = (ours - wanted).abs() > 1e-3 * wanted.abs().max()
    return bool((ours - wanted).norm() <= 3e-3 * wanted.norm()) and off.sum() <= off.numel() // 100


def test_the_loss_of_gdfq_and_its_gradient(golden: Golden, golden_network: nn.Module) -> None:
    arrays = golden("gdfq")
    images = given(arrays, "x").requires_grad_()
    loss = Matched(golden_network, images[:1].detach())
    found = statistics_of(loss.targets, golden_network, images, output=True)
    assert loss.targets.layers == int(arrays["n_bn"])
    assert close(loss.per_layer(found), arrays["bns_per_layer"])
    assert found.output is not None and close(found.output, arrays["teacher_logits"])
    by_class = cross_entropy(found.output, given(arrays, "labels"))
    assert by_class.item() == pytest.approx(float(arrays["one_hot_loss"]), rel=1e-4)
    total = by_class + 0.1 * loss(found)
    assert total.item() == pytest.approx(float(arrays["loss_G"]), rel=1e-4)
    (gradient,) = torch.autograd.grad(total, images)
    assert close_gradient(gradient, arrays["grad_loss_G_x"])


def test_the_slack_of_the_releases_code(golden: Golden, golden_network: nn.Module) -> None:
    arrays = golden("gdfq")
    images = given(arrays, "x").requires_grad_()
    targets = targets_of(golden_network, images[:1].detach(), 0.0)
    margins = given(arrays, "dsg_m"), given(arrays, "dsg_n")
    loss = SlackOfRelease(targets, margins, enhance=True)
    found = statistics_of(targets, golden_network, images)
    assert close(loss.per_layer(found), arrays["dsg_margin_per_layer"])
    assert loss(found).item() == pytest.approx(float(arrays["dsg_margin_loss"]), rel=1e-4)
    (gradient,) = torch.autograd.grad(loss(found), images)
    assert close_gradient(gradient, arrays["dsg_margin_grad_x"])


def test_only_what_exceeds_a_margin_counts_in_the_paper(golden_network: nn.Module) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = targets_of(golden_network, images[:1], 1e-6)
    margins = torch.linspace(0.1, 2, 21), torch.linspace(0.2, 1, 21)
    found = statistics_of(targets, golden_network, images)
    gaps = image_gaps(targets, found)
    by_image = []
    for at in range(3):
        total, start = 0.0, 3
        for layer, count in enumerate(targets.channels[1:]):
            part = slice(start, start + count)
            excess = [
                (gap[at, part].abs() - margin[layer]).clamp(min=0).square().sum()
                for gap, margin in zip((gaps.mean, gaps.deviation), margins, strict=True)
            ]
            total += (2 if layer == at else 1) * float(excess[0] + excess[1])
            start += count
        by_image.append(total)
    ours = SlackOfPaper(targets, margins, enhance=True)(found)
    assert ours.item() == pytest.approx(sum(by_image) / 3 / 21, rel=1e-4)


def test_the_statistics_of_a_batch_are_those_that_batchnorm_takes(tiny_network: nn.Module) -> None:
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = targets_of(tiny_network, images[:1], 0.0)
    gaps = batch_gaps(targets, statistics_of(targets, tiny_network, images))
    first = tiny_network.get_submodule("convs.0")(images)
    mean, variance = first.mean((0, 2, 3)), first.var((0, 2, 3), correction=0)
    norm = tiny_network.get_submodule("norms.0")
    assert torch.allclose(gaps.mean[3:7], mean - norm.running_mean, atol=1e-5)
    assert torch.allclose(gaps.variance[3:7], variance - norm.running_var, atol=1e-5)
    assert by_layer(targets, torch.ones(15)).tolist() == [4.0, 4.0, 4.0]


def test_margins_are_a_percentile_of_the_gaps_of_noise(tiny_network: nn.Module) -> None:
    noise = torch.randn(70, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    paper = slack(tiny_network, noise, "paper", 1.0, enhance=False)
    found = statistics_of(paper.targets, tiny_network, noise)
    assert float(paper(found)) == 0.0  # no gap exceeds the largest
    bare = slack(tiny_network, noise, "paper", None, enhance=False)
    gaps = image_gaps(bare.targets, found)
    squares = gaps.mean[:, 3:].square() + gaps.deviation[:, 3:].square()
    assert float(bare(found)) == pytest.approx(float(squares.sum() / 70 / 3), rel=1e-4)
    release = slack(tiny_network, noise[:64], "release", 1.0, enhance=False)
    assert isinstance(release, SlackOfRelease)
    alike = batch_gaps(release.targets, statistics_of(release.targets, tiny_network, noise[:64]))
    assert release.margins.mean[3] == pytest.approx(float(alike.mean[3:7].abs().max()), rel=1e-4)
