"""Generators have the images of the GDFQ release, and its number of parameters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import NotApplicable
from models.networks.generators import (
    RELEASE_EPSILON,
    LargeGenerator,
    SmallGenerator,
    _larger,
    check_size,
    make_generator,
)

Golden = Callable[[str], dict[str, np.ndarray]]


@torch.no_grad()
def with_known_weights(network: nn.Module) -> nn.Module:
    """Give `network` the weights that tests/golden/README.md describes."""
    for at, (name, parameter) in enumerate(network.named_parameters()):
        wave = torch.sin(0.1 * at + 0.01 * torch.arange(parameter.numel(), dtype=torch.float64))
        if parameter.dim() == 1 and not name.endswith("bias"):
            values = 1 + 0.1 * wave
        else:
            values = 0.05 * wave
        parameter.copy_(values.view(parameter.shape))
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_images_are_those_of_the_release(golden: Golden) -> None:
    arrays = golden("gdfq")
    noise = torch.from_numpy(arrays["gen_z"])
    small = with_known_weights(SmallGenerator(4, (3, 8, 8), 6, RELEASE_EPSILON))
    images = small(noise, torch.from_numpy(arrays["gen_labels"]))
    assert torch.allclose(images, torch.from_numpy(arrays["gen_images"]), rtol=1e-3, atol=1e-3)
    large = with_known_weights(LargeGenerator(1000, (3, 8, 8), 6, RELEASE_EPSILON))
    images = large(noise, torch.from_numpy(arrays["genimagenet_labels"]))
    wanted = torch.from_numpy(arrays["genimagenet_images"])
    assert torch.allclose(images, wanted, rtol=1e-3, atol=1e-3)


def test_a_larger_map_is_that_of_pixels_four_times() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    upward = torch.randn(2, 5, 8, 12, dtype=torch.float64)

    def with_gradients(y: Tensor) -> tuple[Tensor, ...]:
        return y, *torch.autograd.grad(y, (x, layer.weight, layer.bias), upward)

    ours = with_gradients(_larger(x, layer))
    wanted = with_gradients(layer(functional.interpolate(x, scale_factor=2.0)))
    assert all(torch.allclose(one, other) for one, other in zip(ours, wanted, strict=True))


def test_they_are_as_large_as_in_the_release() -> None:
    assert parameters(SmallGenerator(100, (3, 32, 32), 100, 1e-5)) == 1_061_139
    assert parameters(SmallGenerator(10, (3, 32, 32), 100, 1e-5)) == 1_052_139
    with torch.device("meta"):
        assert parameters(LargeGenerator(1000, (3, 224, 224), 100, 1e-5)) == 41_405_315


def test_the_form_follows_from_the_size_and_the_weights_from_the_generator() -> None:
    def made(shape: tuple[int, int, int], seed: int) -> nn.Module:
        return make_generator(3, shape, 5, 1e-5, torch.Generator().manual_seed(seed))

    one, same, other = (made((1, 28, 28), seed) for seed in (0, 0, 1))
    assert isinstance(one, SmallGenerator) and isinstance(made((3, 68, 68), 0), LargeGenerator)
    weights = [network.get_parameter("linear.weight") for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    images = one(torch.randn(6, 5), torch.arange(6) % 3)
    assert images.shape == (6, 1, 28, 28)
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.var(correction=0).item() == pytest.approx(1, abs=0.05)


def test_a_size_without_a_form() -> None:
    with pytest.raises(NotApplicable, match="multiples of 4, not 299x299"):
        check_size((3, 299, 299))
