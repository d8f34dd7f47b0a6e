"""Sums over pixels are those of double precision, and so is their gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from methods.distillation import sums
from methods.distillation.sums import NormaliseAndSum, Sums

LAYOUTS = [torch.contiguous_format, torch.channels_last]
BF16 = torch.bfloat16
# Elements of a part and of a large image: the whole batch, two images, one, the statistics kernel.
PARTS = [(2**20, 2**20), (150, 2**20), (1, 2**20), (2**20, 1)]


@pytest.fixture(params=PARTS, ids=["whole", "pairs", "single", "kernel"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk, large = request.param
    monkeypatch.setattr(sums, "_CHUNK", chunk)
    monkeypatch.setattr(sums, "_CHANNELS", 1)
    monkeypatch.setattr(sums, "_LARGE", {torch.float32: large, BF16: large})


def random_maps(layout: torch.memory_format, dtype: torch.dtype = torch.float32) -> Tensor:
    """Five images of three maps whose size differs a thousandfold."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.01, 1.0, 30.0]).view(1, 3, 1, 1)
    x = (torch.randn(5, 3, 4, 6, generator=generator) + 2) * scale
    return x.to(dtype).contiguous(memory_format=layout).requires_grad_()


def exact_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    total = x.sum(dim=(2, 3), keepdim=True)
    return total, (x - total / x[0, 0].numel()).square().sum(dim=(2, 3), keepdim=True)


def check(found: tuple[Tensor, ...], x: Tensor, expected: Any, y_tolerance: float) -> None:
    """Compare values, and the gradient of a random weighing of them, with double precision."""
    exact = x.detach().double().requires_grad_()
    wanted = expected(exact)
    for value, of_double in zip(found, wanted, strict=True):
        tolerance = 1e-5 if value.dtype == torch.float32 else y_tolerance
        torch.testing.assert_close(value.double(), of_double, rtol=tolerance, atol=tolerance)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator).to(value.dtype) for value in found]
    (gradient,) = torch.autograd.grad(found, x, weights)
    (of_double,) = torch.autograd.grad(wanted, exact, [weight.double() for weight in weights])
    assert (gradient.dtype, gradient.stride()) == (x.dtype, x.stride())
    tolerance = max(1e-4, y_tolerance)
    torch.testing.assert_close(gradient.double(), of_double, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums(layout: torch.memory_format, parts: None) -> None:
    x = random_maps(layout)
    check(Sums.apply(x), x, exact_sums, 0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (BF16, 2**-7)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_with_batchnorm(
    layout: torch.memory_format, dtype: torch.dtype, tolerance: float, parts: None
) -> None:
    x = random_maps(layout, dtype)
    scale, shift = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.5, -2.0, 0.1], [1.0, 0.0, 3.0]))

    def expected(exact: Tensor) -> tuple[Tensor, ...]:
        return exact * scale.double() + shift.double(), *exact_sums(exact)

    found = NormaliseAndSum.apply(x, scale, shift)
    assert [value.dtype for value in found] == [dtype, torch.float32, torch.float32]
    check(found, x, expected, tolerance)


def test_normalised_as_by_batchnorm() -> None:
    x = random_maps(torch.channels_last).detach()
    mean, variance, weight, bias = torch.rand(4, 3, generator=torch.Generator().manual_seed(2))
    scale = weight / torch.sqrt(variance + 1e-3)
    given = (part.view(1, 3, 1, 1) for part in (scale, bias - mean * scale))
    expected = batch_norm(x, mean, variance, weight, bias, eps=1e-3)
    torch.testing.assert_close(NormaliseAndSum.apply(x, *given)[0], expected)


@pytest.mark.parametrize("large", [1, 2**20])
def test_bfloat16_is_summed_in_float32(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A bfloat16 sum of ones ends at 256, and has no 4095.
    monkeypatch.setattr(sums, "_LARGE", {BF16: large})
    monkeypatch.setattr(sums, "_CHANNELS", 1)
    x = torch.ones(1, 2, 64, 64, dtype=BF16)
    x[:, 1, 0, 0] = 0
    one = torch.ones(1, 2, 1, 1)
    _, total, squares = NormaliseAndSum.apply(x, one, one)
    assert total.flatten().tolist() == [4096, 4095]
    assert squares.flatten().tolist() == [0, pytest.approx(4095 / 4096, rel=1e-5)]


def test_a_constant_map_has_a_gradient_of_zero() -> None:
    x = torch.full((1, 1, 3, 3), 1000.0, requires_grad=True)
    total, squares = Sums.apply(x)
    assert (total.item(), squares.item()) == (9000, 0)
    (gradient,) = torch.autograd.grad(squares, x)
    assert not gradient.any()
