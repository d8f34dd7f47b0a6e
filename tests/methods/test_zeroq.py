"""ZeroQ: its loss by hand, its start, and the release's own figures."""

import copy
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from methods.base import Context
from methods.distillation.matching import gaps_to, targets_of
from methods.zeroq import ZeroQ, shares_of_layers, statistics_loss

Golden = Callable[[str], dict[str, np.ndarray]]
MakeContext = Callable[..., Context]


def loss_of(network: nn.Module, images: Tensor, epsilon: float) -> Tensor:
    targets = targets_of(network, images[:1], epsilon)
    return statistics_loss(gaps_to(targets, network, images))


def batchnorm(mean: list[float], var: list[float]) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(len(mean)).eval().requires_grad_(False)
    layer.running_mean, layer.running_var = torch.tensor(mean), torch.tensor(var)
    return layer


def image(*values: float) -> Tensor:
    """One square image of one channel."""
    side = int(sqrt(len(values)))
    return torch.tensor(values).view(1, 1, side, side)


# A mean of exactly 0 and a variance of exactly 1 are refused as those of no training.
NEARLY_0 = 1e-12

# Mean 3 and, with 4 - 1 in the denominator, variance 20 / 3.
STEPS = image(0.0, 2.0, 4.0, 6.0)
OF_THE_IMAGE = 3**2 + (1 - sqrt(20 / 3)) ** 2


def test_loss_by_hand() -> None:
    network = batchnorm([1.0], [4.0])
    expected = OF_THE_IMAGE + (3 - 1) ** 2 + (sqrt(20 / 3) - 2) ** 2
    assert float(loss_of(network, STEPS, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_epsilon_is_added_to_both_variances() -> None:
    flat = image(3.0, 3.0, 3.0, 3.0)
    epsilon = 0.25
    of_the_image = 3**2 + (sqrt(1 + epsilon) - sqrt(epsilon)) ** 2
    of_the_layer = (3 - 1) ** 2 + (sqrt(4 + epsilon) - sqrt(epsilon)) ** 2
    found = loss_of(batchnorm([1.0], [4.0]), flat, epsilon)
    assert float(found) == pytest.approx(of_the_image + of_the_layer, rel=1e-6)


def test_images_are_matched_one_by_one() -> None:
    # As a batch the two have the running statistics; each alone is far from them.
    network = batchnorm([NEARLY_0], [1.0])
    bright, dark = image(*[1.0, 2.0] * 2), image(*[-1.0, -2.0] * 2)
    alone = [float(loss_of(network, one, 1e-6)) for one in (bright, dark)]
    together = float(loss_of(network, torch.cat([bright, dark]), 1e-6))
    assert together == pytest.approx(sum(alone) / 2, rel=1e-6)
    assert together > 2


def test_channels_are_summed() -> None:
    network = batchnorm([1.0, 1.0], [4.0, 4.0])
    one = float(loss_of(batchnorm([1.0], [4.0]), STEPS, 0.0))
    two = float(loss_of(network, STEPS.expand(1, 2, 2, 2), 0.0))
    assert two == pytest.approx(2 * one, rel=1e-6)


def test_batchnorm_may_stand_before_its_convolution() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False).requires_grad_(False)
    conv.weight.fill_(2)
    first, second = batchnorm([1.0], [4.0]), batchnorm([5.0], [9.0])
    network = nn.Sequential(first, nn.ReLU(), conv, second, nn.ReLU(), conv)
    # ReLU((x - 1) / 2) of 0, 2, 4, 6 is 0, 0.5, 1.5, 2.5; doubled: mean 2.25, variance 59 / 12.
    first.eps = 0.0
    expected = OF_THE_IMAGE + (3 - 1) ** 2 + (sqrt(20 / 3) - 2) ** 2
    expected += (2.25 - 5) ** 2 + (sqrt(59 / 12) - 3) ** 2
    assert float(loss_of(network, STEPS, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_a_layer_used_twice_counts_twice() -> None:
    identity = batchnorm([NEARLY_0], [1.0])
    identity.eps = 0.0
    once = float(loss_of(identity, STEPS, 0.0)) - OF_THE_IMAGE
    twice = float(loss_of(nn.Sequential(identity, identity), STEPS, 0.0)) - OF_THE_IMAGE
    assert twice == pytest.approx(2 * once, rel=1e-6)


def test_forwards_are_put_back(tiny_network: nn.Module) -> None:
    loss_of(tiny_network, torch.randn(2, 3, 8, 8), 1e-6)
    assert not any("forward" in vars(module) for module in tiny_network.modules())


def test_loss_is_zero_only_at_the_statistics(tiny_network: nn.Module) -> None:
    x = torch.randn(1, 3, 8, 8)
    x = (x - x.mean(dim=(2, 3), keepdim=True)) / x.std(dim=(2, 3), keepdim=True)
    network = batchnorm([NEARLY_0] * 3, [1.0] * 3)
    assert float(loss_of(network, x, 1e-6)) == pytest.approx(0, abs=1e-6)
    assert float(loss_of(tiny_network, x, 1e-6)) > 0.1


def test_release_start_is_integers_over_their_variance() -> None:
    start = ZeroQ().start((50, 3, 16, 16), torch.Generator().manual_seed(0))
    integers = start.double() * 5418.75 + 127.5
    assert (integers - integers.round()).abs().max() < 1e-3
    assert (integers.round().min(), integers.round().max()) == (0, 254)
    assert len(integers.round().unique()) == 255
    assert float(start.std()) == pytest.approx(0.0136, abs=1e-4)


def test_paper_start_is_standard_normal() -> None:
    start = ZeroQ(variant="paper").start((50, 3, 16, 16), torch.Generator().manual_seed(0))
    assert float(start.mean()) == pytest.approx(0, abs=0.02)
    assert float(start.std()) == pytest.approx(1, abs=0.02)
    assert float((start.abs() > 1.96).float().mean()) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("variant", ["release", "paper"])
def test_loss_falls(tiny_network: nn.Module, make_context: MakeContext, variant: str) -> None:
    method = ZeroQ(images=4, iterations=60, variant=variant)  # type: ignore[arg-type]
    found = method.calibrate(tiny_network, make_context())
    assert len(found.curve) == 60
    assert found.curve[-1] < 0.2 * found.curve[0]
    last = float(loss_of(tiny_network, found.images, method.epsilon))
    assert last < 0.2 * found.curve[0]


def test_float_network_is_unchanged(tiny_network: nn.Module, make_context: MakeContext) -> None:
    before = {key: value.clone() for key, value in tiny_network.state_dict().items()}
    ZeroQ(images=2, iterations=3).calibrate(tiny_network, make_context())
    after = tiny_network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in tiny_network.parameters())


def test_start_is_not_written_to(tiny_network: nn.Module, make_context: MakeContext) -> None:
    start = torch.randn(2, 3, 8, 8)
    copy = start.clone()
    found = ZeroQ(images=2, iterations=2).distill(tiny_network, start, make_context())
    assert torch.equal(start, copy)
    assert not torch.equal(found.images, start)


def test_seed_decides(tiny_network: nn.Module, make_context: MakeContext) -> None:
    method = ZeroQ(images=2, iterations=3)
    first, again, other = (method.calibrate(tiny_network, make_context(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert first.curve == again.curve
    assert not torch.equal(first.images, other.images)
    paper = replace(method, variant="paper").calibrate(tiny_network, make_context(0))
    assert not torch.equal(first.images, paper.images)


def test_progress_of_every_step(tiny_network: nn.Module, make_context: MakeContext) -> None:
    calls: list[tuple[int, int, float | None]] = []
    context = make_context(
        progress=lambda done, total, loss=None: calls.append((done, total, loss))
    )
    found = ZeroQ(images=2, iterations=3).calibrate(tiny_network, context)
    assert calls == [(step + 1, 3, loss) for step, loss in enumerate(found.curve)]


def test_memory_format_changes_rounding_only(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    method = ZeroQ(images=2, iterations=5)
    plain = method.calibrate(tiny_network, make_context())
    context = make_context(memory_format=torch.channels_last)
    other = method.calibrate(tiny_network.to(memory_format=torch.channels_last), context)
    assert other.images.is_contiguous()
    assert other.curve == pytest.approx(plain.curve, rel=1e-3)


def test_plateau_lowers_the_learning_rate(
    tiny_network: nn.Module, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Adam] = []

    def adam(*args: Any, **kwargs: Any) -> Adam:
        made.append(Adam(*args, **kwargs))
        return made[0]

    monkeypatch.setattr("methods.distillation.optimisation.Adam", adam)
    rates: list[float] = []
    context = make_context(progress=lambda *_: rates.append(made[0].param_groups[0]["lr"]))
    # Steps too small to improve the loss by the plateau's threshold of 1e-4.
    method = ZeroQ(images=2, iterations=11, learning_rate=1e-6, min_learning_rate=2e-8, patience=2)
    method.calibrate(tiny_network, context)
    assert rates == pytest.approx([1e-6] * 3 + [1e-7] * 3 + [2e-8] * 5, abs=0)


def test_a_network_without_batchnorm() -> None:
    reason = "the network has no BatchNorm statistics to match"
    assert ZeroQ().not_applicable(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())) == reason
    no_statistics = nn.BatchNorm2d(2, track_running_stats=False)
    assert ZeroQ().not_applicable(no_statistics) == reason
    assert ZeroQ().not_applicable(nn.BatchNorm2d(2)) is None


def test_losses_of_the_release(
    golden: Golden, golden_network: nn.Module, make_context: MakeContext
) -> None:
    arrays = golden("zeroq_distill")
    start = torch.from_numpy(arrays["x0"])
    method = ZeroQ(images=len(start), iterations=25)
    found = method.distill(golden_network, start, make_context(input_shape=(3, 32, 32)))
    # Adam turns the sign of a vanishing gradient into a whole step, so rounding grows with time.
    deviation = np.abs(np.array(found.curve) / arrays["losses"] - 1)
    assert deviation[:10].max() <= 1e-3
    assert deviation.max() <= 1e-2


def test_for_detectors_a_layer_counts_by_its_channels() -> None:
    network = nn.Sequential(batchnorm([1.0, 1.0], [4.0, 4.0]))
    network[0].eps = 0.0
    image = STEPS.expand(1, 2, 2, 2)
    targets = targets_of(network, image, 0.0)
    shares = shares_of_layers(targets)
    assert shares.tolist() == [1, 1, 0.5, 0.5]
    found = statistics_loss(gaps_to(targets, network, image), shares)
    of_the_layer = (3 - 1) ** 2 + (sqrt(20 / 3) - 2) ** 2
    assert float(found) == pytest.approx(2 * OF_THE_IMAGE + of_the_layer, rel=1e-6)


def test_for_detectors_it_starts_from_integers_around_128() -> None:
    start = ZeroQ(variant="detection").start((20, 3, 16, 16), torch.Generator().manual_seed(0))
    integers = (start.double() * 5418.75 + 128).round()
    assert (integers.min(), integers.max()) == (0, 254)


def test_for_detectors_the_learning_rate_stays(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    images, context = torch.zeros(1, 3, 8, 8), make_context()
    found = {}
    for variant in ("release", "detection"):
        method = ZeroQ(images=1, iterations=8, patience=0, variant=variant)  # type: ignore[arg-type]
        found[variant] = method.distill(tiny_network, images, replace(context))
    targets = targets_of(tiny_network, images, 1e-6)
    pixels = images.clone().requires_grad_(True)
    steps, shares = Adam([pixels], lr=0.5), shares_of_layers(targets)
    for _ in range(8):
        steps.zero_grad()
        statistics_loss(gaps_to(targets, tiny_network, pixels), shares).backward()
        steps.step()
    assert torch.allclose(found["detection"].images, pixels.detach(), atol=1e-5)
    assert not torch.allclose(found["release"].images, pixels.detach(), atol=1e-2)


def test_the_release_forgets_the_checkpoint_of_a_detector(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    other = copy.deepcopy(tiny_network)
    for layer in other.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean += 0.5  # type: ignore[operator]
    found = {
        (variant, name): ZeroQ(images=1, iterations=3, variant=variant)  # type: ignore[arg-type]
        .calibrate(network, make_context())
        .images
        for variant in ("detection", "detection_untrained")
        for name, network in (("one", tiny_network), ("other", other))
    }
    untrained = found["detection_untrained", "one"]
    assert torch.equal(untrained, found["detection_untrained", "other"])
    loaded = found["detection", "one"]
    assert not torch.equal(loaded, found["detection", "other"])
    assert not torch.equal(loaded, untrained)
    names = {
        str(ZeroQ(variant=v).identity()) for v in ("release", "detection", "detection_untrained")
    }  # type: ignore[arg-type]
    assert len(names) == 3
