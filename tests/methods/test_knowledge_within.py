"""Images inverted from a network: the loss and its parts, what they become, bad input."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from methods.base import Context
from methods.knowledge_within import KnowledgeWithin
from models.errors import BenchError

MakeContext = Callable[..., Context]


def first_loss(network: nn.Module, context: Context, **parameters: Any) -> float:
    method = KnowledgeWithin(images=6, iterations=1, clip=False, **parameters)
    return method.calibrate(network, context).curve[0]


def test_the_loss_is_the_sum_of_its_terms(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    context = make_context()
    names = ("label_weight", "smoothness_weight", "statistics_weight")
    off = dict.fromkeys(names, 0.0)
    alone = [first_loss(tiny_network, context, **(off | {name: 1.0})) for name in names]
    weights = dict(zip(names, (0.5, 2.0, 3.0), strict=True))
    wanted = 0.5 * alone[0] + 2 * alone[1] + 3 * alone[2]
    assert first_loss(tiny_network, context, **weights) == pytest.approx(wanted, rel=1e-5)
    images = torch.randn(6, *context.input_shape, generator=context.generator("synthesis"))
    labels = torch.randint(5, (6,), generator=context.generator("labels"))
    by_class = cross_entropy(tiny_network(images), labels)
    assert alone[0] == pytest.approx(by_class.item(), rel=1e-5)


def test_the_divergence_is_that_of_the_batch(make_context: MakeContext) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    layer = network[0]
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    layer.running_var.copy_(torch.tensor([4.0, 1.0, 0.25]))
    network.requires_grad_(False)
    context = make_context()
    x = torch.randn(6, *context.input_shape, generator=context.generator("synthesis"))
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    away = (variance + (mean - layer.running_mean) ** 2) / layer.running_var
    wanted = 0.5 * (away - 1 - (variance / layer.running_var).log()).mean()
    found = first_loss(network, context, label_weight=0.0, smoothness_weight=0.0)
    assert found == pytest.approx(wanted.item(), rel=1e-4)


def test_its_loss_falls_on_resnet20_and_images_are_taken_for_their_classes(
    golden_network: nn.Module, make_context: MakeContext
) -> None:
    context = make_context(input_shape=(3, 32, 32))
    method = KnowledgeWithin(images=4, iterations=12)
    made = method.calibrate(golden_network, context)
    assert made.images.shape == (4, 3, 32, 32) and len(made.curve) == 12
    assert made.curve[-1] < 0.5 * made.curve[0]
    labels = torch.randint(10, (4,), generator=context.generator("labels"))
    start = torch.randn(4, 3, 32, 32, generator=context.generator("synthesis"))
    with torch.no_grad():
        before, after = (
            cross_entropy(golden_network(x), labels).item() for x in (start, made.images)
        )
    assert after < before


def test_fewer_classes_are_the_first_ones(
    tiny_network: nn.Module, make_context: MakeContext
) -> None:
    context = make_context()
    loss = first_loss(
        tiny_network, context, classes=2, smoothness_weight=0.0, statistics_weight=0.0
    )
    images = torch.randn(6, *context.input_shape, generator=context.generator("synthesis"))
    labels = torch.randint(2, (6,), generator=context.generator("labels"))
    assert loss == pytest.approx(cross_entropy(tiny_network(images), labels).item(), rel=1e-5)


def test_bad_input(tiny_network: nn.Module, make_context: MakeContext) -> None:
    assert KnowledgeWithin().not_applicable(nn.Conv2d(3, 4, 3)) == (
        "the network has no BatchNorm statistics to match"
    )
    for classes in (1, 6):
        with pytest.raises(BenchError, match=rf"classes={classes} does not fit .* has 5 outputs"):
            KnowledgeWithin(classes=classes).calibrate(tiny_network, make_context())
    with pytest.raises(ValueError, match="all three weights are 0"):
        KnowledgeWithin(label_weight=0, smoothness_weight=0, statistics_weight=0)
    with pytest.raises(ValueError, match="smoothing=0; give more than 0"):
        KnowledgeWithin(smoothing=0)
    with pytest.raises(ValueError, match="label_weight=-1; give 0 or more"):
        KnowledgeWithin(label_weight=-1)
