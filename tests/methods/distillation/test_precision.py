"""Computing a network in bfloat16 changes its types and rounding, and nothing lasts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from methods.base import Context
from methods.distillation.precision import computed_in
from methods.zeroq import ZeroQ
from models.zoo import choose_weights, entry
from models.zoo.weights import load

BF16 = torch.bfloat16
CPU = torch.device("cpu")


def integers(shape: tuple[int, ...], high: int, seed: int) -> Tensor:
    """Whole numbers of -high..high, so small that bfloat16 adds and multiplies them exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-high, high + 1, shape, generator=generator).float()


def gradient(layer: nn.Conv2d, x: Tensor, precision: torch.dtype) -> Tensor:
    x = x.clone().requires_grad_()
    with computed_in(precision, layer, CPU):
        y = layer(x)
    assert y.dtype == precision
    (found,) = torch.autograd.grad(y, x, integers(tuple(y.shape), 2, 3).to(y.dtype))
    return found


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (3, 2, 0, 1),
        (5, 3, 2, 1),
        ((3, 1), (1, 2), (2, 0), 1),
        (3, 2, 2, 2),
        (1, 2, 0, 1),
        (1, 1, 1, 1),  # margins that no convolution of the gradient has
        (3, 1, "same", 1),
    ],
)
def test_gradient_of_depthwise_convolutions(
    kernel: Any, stride: Any, padding: Any, dilation: int
) -> None:
    for channels in (2, 4):
        layer = nn.Conv2d(
            4, 4, kernel, stride, padding, dilation, groups=channels, bias=False
        ).requires_grad_(False)
        layer.weight.copy_(integers(tuple(layer.weight.shape), 2, 1))
        for size in ((7, 8), (8, 9)):
            x = integers((2, 4, *size), 3, 2)
            assert torch.equal(gradient(layer, x, BF16), gradient(layer, x, torch.float32))


def test_weights_that_are_trained_keep_their_gradient() -> None:
    layer = nn.Conv2d(2, 2, 3, groups=2)
    with computed_in(BF16, layer, CPU):
        layer(torch.ones(1, 2, 3, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == torch.ones(2, 1, 3, 3).tolist()


def test_float32_is_left_alone(tiny_network: nn.Module) -> None:
    x = torch.randn(2, 3, 8, 8)
    before = tiny_network(x)
    with computed_in(torch.float32, tiny_network, CPU):
        assert torch.equal(tiny_network(x), before)
        assert not torch.is_autocast_enabled("cpu")


def test_nothing_lasts() -> None:
    layer = nn.Conv2d(2, 2, 1, groups=2).requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), computed_in(BF16, layer, CPU):
        raise RuntimeError("inside")
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(layer(x), conv2d(x, layer.weight, layer.bias, groups=2))
    assert "forward" not in vars(layer)


@pytest.mark.thorough
def test_distillation_in_bfloat16_lowers_the_loss_as_float32_does(
    make_context: Callable[..., Context],
) -> None:
    model = entry("resnet20")
    network, _ = load(model, choose_weights(model, "default"))
    method = ZeroQ(images=2, iterations=40)

    def curve(precision: torch.dtype) -> list[float]:
        context = make_context(input_shape=(3, 32, 32), precision=precision)
        found = method.calibrate(network, context)
        assert found.images.dtype == torch.float32
        return found.curve

    half, full = curve(BF16), curve(torch.float32)
    assert half[0] == pytest.approx(full[0], rel=1e-2)
    assert half != full
    assert full[-1] < 0.04 * full[0]
    assert half[-1] == pytest.approx(full[-1], rel=0.05)
