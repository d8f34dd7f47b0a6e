"""The operation under all learned steps, against its formula written out for autograd."""

import pytest
import torch
from torch import Tensor

from models.errors import BenchError
from models.qat.quantizer import Quantizer, fake_quantize_learnable, integers
from models.qat.spec import SURROGATES
from models.qat.surrogate import Surrogate


def written_out(x: Tensor, step: Tensor, low: int, top: int, surrogate: Surrogate) -> Tensor:
    return surrogate.round((x / step).clamp(low, top)) * step


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("shape", [(), (3, 1)])
def test_gradients_are_those_of_the_formula(name: str, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(3, 50, generator=generator, dtype=torch.float64)
    g = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    step = 0.4 + torch.rand(shape, generator=generator, dtype=torch.float64)
    for given in (x, step):
        given.requires_grad_()
    surrogate = Surrogate(name, 0.2)
    got = fake_quantize_learnable(x, step, -2, 1, surrogate)
    wanted = written_out(x, step, -2, 1, surrogate)
    assert torch.equal(got, wanted)
    for a, b in zip(
        torch.autograd.grad(got, (x, step), g),
        torch.autograd.grad(wanted, (x, step), g),
        strict=True,
    ):
        assert a.shape == b.shape
        assert torch.isfinite(a).all()
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_step_of_no_size_or_of_the_wrong_sign_is_harmless() -> None:
    x = torch.tensor([0.6, -0.2, 3.0])
    for step, expected in ((-0.5, [0.5, 0.0, 0.5]), (0.0, [0.0, 0.0, 0.0])):
        got = fake_quantize_learnable(x, torch.tensor(step), -2, 1, Surrogate())
        assert got.tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", SURROGATES)
def test_beyond_the_grid_a_value_counts_as_its_end(name: str) -> None:
    x = torch.tensor([float("inf"), 1e30, -3.0, 0.6], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    got = fake_quantize_learnable(x, step, -2, 1, Surrogate(name))
    assert got.tolist() == [0.5, 0.5, -1.0, 0.5]
    of_x, of_step = torch.autograd.grad(got, (x, step), torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    # 0.6 / 0.5 is above the grid too: the ends are 1, 1, -2, 1.
    assert of_x.tolist() == [0.0] * 4
    assert of_step.item() == 1 + 10 - 200 + 1000


def test_integers() -> None:
    assert integers(4, signed=True) == (-8, 7)
    assert integers(4, signed=False) == (0, 15)
    assert integers(1, signed=True) == (-1, 0)


def test_float_is_the_tensor_itself_and_needs_no_grid() -> None:
    x = torch.ones(2)
    quantizer = Quantizer((32,), Surrogate(), signed=True)
    assert quantizer(x, 32) is x
    with pytest.raises(BenchError, match=r"made for \[\] bits, not for 4"):
        quantizer(x, 4)
