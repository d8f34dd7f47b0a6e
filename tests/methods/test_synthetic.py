"""Synthetic images: what each part does to the loss and to the images, and Sony's generator."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.cells.seeds import torch_generator
from methods.base import Context
from methods.distillation.matching import Gaps, Targets
from methods.distillation.outputs import negative_spread
from methods.distillation.priors import roughness
from methods.identity import identifying
from methods.registry import make_method
from methods.synthetic import (
    RECIPES,
    Synthetic,
    channel_weights,
    clipped,
    range_of_views,
    weighted_loss,
)
from methods.zeroq import ZeroQ
from models.errors import BenchError

MakeContext = Callable[..., Context]
BARE: dict[str, Any] = {
    "start": "gaussian",
    "statistics": "image",
    "weighting": "channel",
    "image_weight": 1.0,
    "clip": False,
    "smoothing": 0.0,
    "margin": 0,
    "flip": False,
    "roughness_weight": 0.0,
    "output_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 0.5,
    "schedule": "plateau",
}
"""Every part off."""


def bare(**changes: Any) -> Synthetic:
    return Synthetic(**({"images": 3, "iterations": 6} | BARE | changes))


def targets(deviation: list[float]) -> Targets:
    """Of an image of one channel, a layer of two and one of one."""
    return Targets((1, 2, 1), torch.ones(4), torch.zeros(4), torch.tensor(deviation), 0.0)


def test_without_its_parts_it_is_zeroq_from_noise(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    found = bare(patience=100).calibrate(tiny_network, make_context())
    zeroq = ZeroQ(images=3, iterations=6, variant="paper").calibrate(tiny_network, make_context())
    assert found.curve == pytest.approx(zeroq.curve, rel=1e-5)
    torch.testing.assert_close(found.images, zeroq.images, atol=1e-4, rtol=0)
    clipped = bare(patience=100, clip=True).calibrate(tiny_network, make_context())
    other = ZeroQ(images=3, iterations=6, variant="paper", clip=True)
    images = other.calibrate(tiny_network, make_context()).images
    torch.testing.assert_close(clipped.images, images, atol=1e-4, rtol=0)


def test_weights_by_hand() -> None:
    shape = targets([1.0, 0.5, 2.0, 4.0])
    assert channel_weights(shape, "channel", 1.0).tolist() == [1, 1, 1, 1]
    assert channel_weights(shape, "channel", 0.0).tolist() == [0, 1, 1, 1]
    by_layer = channel_weights(shape, "layer", 10.0)
    assert by_layer.tolist() == pytest.approx([10 / 3, 1 / 6, 1 / 6, 1 / 3])
    in_deviations = channel_weights(shape, "deviation", 1.0)
    assert in_deviations.tolist() == pytest.approx([1 / 3, 4 / 6, 1 / 24, 1 / 48])


def test_loss_by_hand() -> None:
    gaps = Gaps(
        torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]]), None
    )
    # 1 x (1 + 0) + 0.5 x (4 + 1), and 1 x (9 + 1) + 0.5 x (0 + 1)
    assert float(weighted_loss(gaps, torch.tensor([1.0, 0.5]))) == (3.5 + 10.5) / 2


def test_clipped_views_by_hand(make_context: MakeContext) -> None:
    context = make_context()  # black is -2, white 2, and 255 times white 1018
    x = torch.tensor([-3.0, -1.0, 5.0, 2000.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    x = x.contiguous().requires_grad_()
    for clip, expected in (("seen", [-2, -1, 2, 2]), ("black", [-2, -1, 5, 1018])):
        within = range_of_views(clip, context)
        assert within is not None
        seen = clipped(x, *within)
        assert seen[0, 0].flatten().tolist() == pytest.approx(expected)
        (gradient,) = torch.autograd.grad(seen.sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))
    assert range_of_views(True, context) is None and range_of_views(False, context) is None


def release_loss(network: nn.Module, x: Tensor) -> float:
    """MCT's loss of what its network sees, written down from its description, in float64."""
    network = deepcopy(network).double()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    seen: list[tuple[Tensor, Any, Any]] = [(x.double(), 0.0, torch.ones(3))]
    for norm in norms:
        norm.register_forward_pre_hook(
            lambda layer, args: seen.append(
                (args[0], layer.running_mean, (layer.running_var + 1e-6).sqrt())
            )
        )
    output = network(x.double())
    total = 0.0
    for value, mean, deviation in seen:
        own_mean = value.mean((0, 2, 3))
        own = (value.square().mean((0, 2, 3)) - own_mean.square() + 1e-6).sqrt()
        gaps = (own_mean - mean).square().mean() + (own - deviation).square().mean()
        total += float(gaps) / len(seen)
    return total + 1e-5 * float(negative_spread(output))


def test_first_loss_of_mct(tiny_network: nn.Module, make_context: MakeContext) -> None:
    method = Synthetic(images=3, iterations=1, variant="mct", margin=2, flip=False)
    found = method.calibrate(tiny_network, make_context(seed=4))
    noise = torch.randn(3, 3, 10, 10, generator=torch_generator(4, "synthesis"))
    top, left = torch.randint(3, (2,), generator=torch_generator(4, "views")).tolist()
    axis = torch.tensor([-1.0, 0.0, 1.0])
    kernel = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.25**2))
    kernel /= kernel.sum()
    wide = nn.functional.pad(noise, (1, 1, 1, 1), mode="replicate")
    smooth = nn.functional.conv2d(wide.flatten(0, 1)[:, None], kernel[None, None])
    seen = smooth.view(3, 3, 10, 10)[:, :, top : top + 8, left : left + 8].clamp(min=-2)
    assert found.curve[0] == pytest.approx(release_loss(tiny_network, seen), rel=1e-5)
    assert found.images.shape == (3, 3, 8, 8)
    assert found.images.min() >= -2


def test_mct_has_its_defaults() -> None:
    assert asdict(Synthetic(variant="mct")) == {
        "images": 64,
        "variant": "mct",
        "iterations": 500,
        "start": "gaussian",
        "statistics": "batch",
        "weighting": "layer",
        "image_weight": 1.0,
        "clip": "black",
        "smoothing": 1.25,
        "margin": 32,
        "flip": True,
        "roughness_weight": 0.0,
        "output": "spread",
        "output_weight": 1e-5,
        "optimizer": "radam",
        "learning_rate": 16.0,
        "schedule": "halving",
        "min_learning_rate": 1e-4,
        "patience": 10,
        "epsilon": 1e-6,
    }
    assert Synthetic(variant="mct", iterations=190).patience == 3
    assert Synthetic(variant="mct", schedule="plateau").patience == 100
    assert asdict(RECIPES["default"]).items() <= asdict(Synthetic()).items()


@pytest.mark.parametrize(
    "part",
    [
        {"start": "diverse"},
        {"start": "pink"},
        {"statistics": "batch"},
        {"statistics": "both"},
        {"weighting": "layer"},
        {"weighting": "deviation"},
        {"image_weight": 0.0},
        {"clip": True},
        {"clip": "seen"},
        {"clip": "black"},
        {"smoothing": 1.0},
        {"margin": 2},
        {"flip": True},
        {"roughness_weight": 1.0},
        {"output_weight": 1.0},
        {"output_weight": 1.0, "output": "inverse_spread"},
        {"output_weight": 1.0, "output": "label"},
        {"optimizer": "radam"},
        {"learning_rate": 0.1},
        {"schedule": "halving", "patience": 0},
        {"schedule": "cosine"},
    ],
    ids=str,
)
def test_each_part_changes_the_images_and_can_be_off(
    tiny_network: nn.Module, make_context: MakeContext, part: dict[str, Any]
) -> None:
    # From clipping on, black and white are within what noise has.
    edge = torch.full((1, 3, 1, 1), 1.0)
    context = make_context(pixel_range=(-edge, edge))
    without = bare().calibrate(tiny_network, context)
    found = bare(**part).calibrate(tiny_network, context)
    assert found.images.shape == without.images.shape == (3, 3, 8, 8)
    assert torch.isfinite(found.images).all()
    assert not torch.allclose(found.images, without.images, atol=1e-3)
    if "clip" in part:
        assert without.images.min() < -1 and found.images.min() >= -1
        assert (found.images.max() <= 1) == (part["clip"] != "black")


@pytest.mark.parametrize("kind", ["spread", "inverse_spread"])
def test_the_output_term_makes_outputs_differ(
    tiny_network: nn.Module, make_context: MakeContext, kind: str
) -> None:
    def spread(images: Tensor) -> float:
        return -float(negative_spread(tiny_network(images)))

    without = bare(iterations=30).calibrate(tiny_network, make_context())
    method = bare(iterations=30, output=kind, output_weight=100.0)
    found = method.calibrate(tiny_network, make_context())
    assert spread(found.images) > 1.5 * spread(without.images)


def test_the_label_term_is_the_cross_entropy(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    plain = bare(iterations=1).calibrate(tiny_network, make_context(seed=2))
    method = bare(iterations=1, output="label", output_weight=100.0)
    found = method.calibrate(tiny_network, make_context(seed=2))
    labels = torch.randint(5, (3,), generator=torch_generator(2, "labels"))
    noise = torch.randn(3, 3, 8, 8, generator=torch_generator(2, "synthesis"))
    term = 100 * float(cross_entropy(tiny_network(noise), labels))
    assert found.curve[0] - plain.curve[0] == pytest.approx(term, rel=1e-5)


def test_images_are_as_smooth_as_what_the_network_saw(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    def relative(images: Tensor) -> float:
        return float(roughness(images) / images.var())

    found, plain = (
        bare(smoothing=sigma, margin=4).calibrate(tiny_network, make_context()).images
        for sigma in (100.0, 0.0)
    )
    assert relative(found) < 0.5 * relative(plain)


def test_names_say_every_part() -> None:
    named = identifying(asdict(Synthetic()))
    assert named == asdict(Synthetic())  # nothing of it is older than the method
    assert identifying(asdict(Synthetic(clip=False))) == {
        k: v for k, v in asdict(Synthetic(clip=False)).items() if k != "clip"
    }
    spelt = replace(Synthetic(), **asdict(RECIPES["default"]))
    assert asdict(spelt) == asdict(Synthetic())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"iterations": 0}, "method 'synthetic': iterations=0; give at least 1"),
        ({"smoothing": -1.0}, r"method 'synthetic': smoothing=-1\.0; give 0 or more"),
        ({"margin": -2}, "method 'synthetic': margin=-2; give 0 or more"),
        ({"learning_rate": 0.0}, r"method 'synthetic': learning_rate=0\.0; give more than 0"),
        (
            {"statistics": "images"},
            r"method\.statistics='images': Input should be 'image', 'batch'",
        ),
        ({"clip": "white"}, r"method\.clip.*'white'"),
    ],
    ids=str,
)
def test_bad_values_in_one_line(value: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=f"^{message}") as caught:
        make_method({"name": "synthetic", **value})
    assert "\n" not in str(caught.value)


def test_a_network_without_batchnorm() -> None:
    assert Synthetic().not_applicable(nn.Conv2d(3, 2, 1)) is not None
    assert Synthetic().not_applicable(nn.BatchNorm2d(2)) is None
