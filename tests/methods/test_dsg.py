"""DSG: its terms by hand, its two variants, and what is left of it without them."""

from collections.abc import Callable
from dataclasses import asdict, replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.cells.seeds import torch_generator
from methods.base import Context
from methods.distillation.matching import Gaps, Targets, gaps_to, targets_of
from methods.distillation.priors import image_prior, spectrum_difference
from methods.distillation.slack import Margins, enhancement, percentiles, slack_loss
from methods.dsg import DSG
from methods.registry import make_method
from methods.zeroq import ZeroQ, statistics_loss
from models.errors import BenchError

MakeContext = Callable[..., Context]
BARE = {
    "slack": False,
    "enhance": False,
    "label_weight": 0,
    "prior_weight": 0,
    "diversity_weight": 0,
}


def fast(**changes: Any) -> DSG:
    return DSG(**({"images": 4, "iterations": 3, "margin_images": 8} | changes))


def targets(*channels: int) -> Targets:
    """For the shape only."""
    nothing = torch.zeros(sum(channels))
    return Targets(channels, nothing, nothing, nothing, 0.0)


def test_slack_by_hand() -> None:
    gaps = Gaps(torch.tensor([[3.0, -3.0, 1.0]]), torch.tensor([[-4.0, 0.5, 2.0]]), None)
    margins = Margins(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 0.5]))
    # means: 3, 2, none; deviations: 3, none, 1.5
    assert float(slack_loss(gaps, margins, None)) == 9 + 4 + 9 + 2.25
    weights = torch.tensor([[1.0, 4.0, 2.0]])
    assert float(slack_loss(gaps, margins, weights)) == 9 + 4 * 4 + 9 + 2 * 2.25
    twice = Gaps(gaps.mean.expand(2, 3), gaps.deviation.expand(2, 3), None)
    assert float(slack_loss(twice, margins, None)) == 9 + 4 + 9 + 2.25  # the mean over images


def test_margins_of_zero_leave_zeroqs_loss(tiny_network: nn.Module) -> None:
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = gaps_to(targets_of(tiny_network, x[:1].detach(), 1e-6), tiny_network, x)
    zero = torch.zeros(15)
    losses = [statistics_loss(found), slack_loss(found, Margins(zero, zero), None)]
    losses.append(slack_loss(found, None, torch.ones(3, 15)))
    gradients = [torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses]
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert loss.item() == pytest.approx(losses[0].item(), rel=1e-6)
        torch.testing.assert_close(gradient, gradients[0])


def test_margins_beyond_every_gap_leave_nothing(tiny_network: nn.Module) -> None:
    x = torch.randn(3, 3, 8, 8).requires_grad_()
    found = gaps_to(targets_of(tiny_network, x[:1].detach(), 1e-6), tiny_network, x)
    wide = torch.full((15,), 100.0)
    loss = slack_loss(found, Margins(wide, wide), None)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, x)[0].any()


def test_percentiles_by_hand() -> None:
    # The image's channel, then a layer of 2 channels and a layer of 1; 3 images.
    gaps = torch.tensor([[9.0, 0.0, 5.0, 10.0], [9.0, 4.0, 1.0, 30.0], [9.0, 2.0, 3.0, 20.0]])
    shape = targets(1, 2, 1)
    assert percentiles(gaps, shape, 0.9).tolist() == pytest.approx([0, 4.5, 28])
    assert percentiles(gaps, shape, 1.0).tolist() == [0, 5, 30]
    assert percentiles(gaps, shape, 0.5).tolist() == [0, 2.5, 20]


def test_margins_are_those_of_standard_normal_images(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    method, context = DSG(margin_images=100), make_context(seed=5)
    target = targets_of(tiny_network, torch.zeros(1, 3, 8, 8), method.epsilon)
    margins = method.margins(tiny_network, target, context)
    generator = torch_generator(5, "margins")
    noise = torch.cat([torch.randn(n, 3, 8, 8, generator=generator) for n in (64, 36)])
    gaps = gaps_to(target, tiny_network, noise)
    for margin, gap in zip(margins, (gaps.mean, gaps.deviation), strict=True):
        assert margin[:3].tolist() == [0, 0, 0]
        for layer in range(3):
            own = slice(3 + 4 * layer, 7 + 4 * layer)
            expected = np.quantile(gap[:, own].abs().numpy(), 0.9)
            assert margin[own].tolist() == pytest.approx([expected] * 4, rel=1e-4)


def test_paper_counts_one_layer_of_each_image_twice() -> None:
    weights = enhancement("paper", 5, targets(3, 1, 1, 1))
    assert weights[:, :3].tolist() == [[1, 1, 1]] * 5
    identity_plus_ones = [[2, 1, 1], [1, 2, 1], [1, 1, 2]]
    assert weights[:, 3:].tolist() == identity_plus_ones + identity_plus_ones[:2]
    wide = enhancement("paper", 2, targets(1, 2, 3, 1))
    assert wide.tolist() == [[1, 2, 2, 1, 1, 1, 1], [1, 1, 1, 2, 2, 2, 1]]


@pytest.mark.parametrize(("images", "layers"), [(40, 49), (30, 3), (2, 49), (20, 20)])
def test_release_counts_one_layer_of_20_images_four_times(images: int, layers: int) -> None:
    weights = enhancement("release", images, targets(*[1] * (1 + layers)))
    expected = torch.ones(images, 1 + layers)
    for own in range(min(20, images, layers)):
        expected[own, 1 + own] = 4
    assert torch.equal(weights, expected)


def test_defaults_of_the_variants() -> None:
    paper, release = DSG(), DSG(variant="release")
    assert asdict(paper) == {
        "images": 64,
        "variant": "paper",
        "iterations": 500,
        "learning_rate": 0.5,
        "min_learning_rate": 1e-4,
        "patience": 100,
        "epsilon": 1e-6,
        "slack": True,
        "percentile": 0.9,
        "margin_images": 1024,
        "enhance": True,
        "label_weight": 0.0,
        "prior_weight": 0.0,
        "diversity_weight": 0.0,
        "clip": False,
    }
    different = {
        "images": 40,
        "variant": "release",
        "learning_rate": 0.9,
        "patience": 260,
        "label_weight": 2.0,
        "prior_weight": 0.01,
        "diversity_weight": 1e-4,
    }
    assert asdict(release) == asdict(paper) | different


def test_identity_is_of_what_is_used() -> None:
    said = make_method({"name": "dsg", "variant": "release", "images": 40, "label_weight": 2})
    assert said == make_method({"name": "dsg", "variant": "release", "patience": None})
    assert None not in asdict(said).values()
    off = make_method({"name": "dsg", "variant": "release", **BARE})
    assert {key: asdict(off)[key] for key in BARE} == BARE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"percentile": 1.5}, "percentile=1.5; give a number from 0 to 1"),
        ({"margin_images": 0}, "margin_images=0; give at least 1"),
        ({"iterations": 0}, "iterations=0; give at least 1"),
        ({"prior_weight": -1}, "prior_weight=-1.0; give 0 or more"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=f"^method 'dsg': {message}$"):
        make_method({"name": "dsg", **changes})


def test_starts() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = DSG().start((50, 3, 16, 16), generator)
    assert (float(normal.mean()), float(normal.std())) == pytest.approx((0, 1), abs=0.02)
    uniform = DSG(variant="release").start((50, 3, 16, 16), generator)
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.std()) == pytest.approx(sqrt(1 / 12), abs=0.01)
    assert 0 <= float(uniform.min()) < 0.01 < 0.99 < float(uniform.max()) < 1


def test_without_both_ideas_it_is_zeroq(tiny_network: nn.Module, make_context: MakeContext) -> None:
    common = {"images": 4, "iterations": 20}
    zeroq = ZeroQ(variant="paper", **common).calibrate(tiny_network, make_context())  # type: ignore[arg-type]
    dsg = DSG(**common, **BARE).calibrate(tiny_network, make_context())  # type: ignore[arg-type]
    assert dsg.curve == pytest.approx(zeroq.curve, rel=1e-5)
    torch.testing.assert_close(dsg.images, zeroq.images, atol=1e-3, rtol=1e-3)


def first_loss(method: DSG, network: nn.Module, context: Context) -> float:
    return replace(method, iterations=1).calibrate(network, context).curve[0]


def test_first_loss_of_the_paper(tiny_network: nn.Module, make_context: MakeContext) -> None:
    method, context = fast(), make_context(seed=2)
    start = method.start((4, 3, 8, 8), torch_generator(2, "synthesis"))
    target = targets_of(tiny_network, start[:1], 1e-6)
    gaps = gaps_to(target, tiny_network, start)
    delta, gamma = method.margins(tiny_network, target, context)
    total = 0.0
    for image in range(4):
        layers = []
        for own in (slice(0, 3), slice(3, 7), slice(7, 11), slice(11, 15)):
            mean = (gaps.mean[image, own].abs() - delta[own]).clamp(min=0)
            deviation = (gaps.deviation[image, own].abs() - gamma[own]).clamp(min=0)
            layers.append(float(mean.square().sum() + deviation.square().sum()))
        total += sum(layers) + layers[1 + image % 3]
    assert first_loss(method, tiny_network, context) == pytest.approx(total / 4, rel=1e-5)


def test_each_switch_adds_its_term(tiny_network: nn.Module, make_context: MakeContext) -> None:
    context = make_context(seed=3)
    bare = fast(variant="release", **BARE)
    start = bare.start((4, 3, 8, 8), torch_generator(3, "synthesis"))
    without = first_loss(bare, tiny_network, context)

    def added(**changes: Any) -> float:
        return first_loss(replace(bare, **changes), tiny_network, context) - without

    assert added(slack=True) < -0.01
    assert added(enhance=True) > 0.01
    labels = torch.randint(5, (4,), generator=torch_generator(3, "labels"))
    entropy = float(cross_entropy(tiny_network(start), labels))
    assert added(label_weight=2.0) == pytest.approx(2 * entropy, rel=1e-3)
    prior = float(image_prior(start, torch_generator(3, "roll")))
    assert added(prior_weight=0.01) == pytest.approx(0.01 * prior, rel=1e-3)
    gaussian = torch.randn(4, 3, 8, 8, generator=torch_generator(3, "diversity"))
    difference = float(spectrum_difference(start, gaussian))
    assert added(diversity_weight=6.0) == pytest.approx(6 / 3 * difference, rel=1e-3)


@pytest.mark.parametrize("variant", ["paper", "release"])
def test_loss_falls(tiny_network: nn.Module, make_context: MakeContext, variant: str) -> None:
    found = fast(variant=variant, iterations=60).calibrate(tiny_network, make_context())
    assert len(found.curve) == 60
    assert found.curve[-1] < 0.7 * found.curve[0]


@pytest.mark.parametrize("variant", ["paper", "release"])
def test_seed_decides(tiny_network: nn.Module, make_context: MakeContext, variant: str) -> None:
    method = fast(variant=variant)
    first, again, other = (method.calibrate(tiny_network, make_context(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert first.curve == again.curve
    assert not torch.equal(first.images, other.images)


def test_one_step_changes_each_image_by_the_learning_rate(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    method = fast(variant="release", iterations=1)
    start = method.start((4, 3, 8, 8), torch_generator(0, "synthesis"))
    step = (method.calibrate(tiny_network, make_context()).images - start).abs()
    assert float(step.median()) == pytest.approx(0.9, rel=1e-3)
    assert method.schedule.patience == 260


def test_networks_it_has_no_meaning_for(make_context: MakeContext) -> None:
    reason = "the network has no BatchNorm statistics to match"
    assert DSG().not_applicable(nn.Conv2d(3, 2, 1)) == reason
    assert DSG().not_applicable(nn.BatchNorm2d(3)) is None
    with pytest.raises(BenchError, match="as before any training"):
        fast().calibrate(nn.BatchNorm2d(3).eval(), make_context())
