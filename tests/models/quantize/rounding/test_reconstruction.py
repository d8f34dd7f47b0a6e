"""The error of an output as a function of the weight, against the error itself."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from models.quantize.rounding.reconstruction import GramMatrix, reconstruction

LAYERS = [
    nn.Conv2d(6, 4, 3, padding=1, stride=2),
    nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
    nn.Conv2d(6, 8, (1, 3), groups=2, padding="same", padding_mode="reflect"),
    nn.Linear(6, 4),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_reconstruction_is_the_output_error(layer: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 6, 6, 6, generator=generator)
    with torch.no_grad():
        target = layer(x + 0.1 * torch.randn(x.shape, generator=generator))
        problem = reconstruction(layer, x, target)
    weight = layer.get_parameter("weight")
    change = 0.1 * torch.randn(weight.shape, generator=generator)
    moved = (weight.detach() + change).requires_grad_(True)
    output = functional_call(layer, {"weight": moved}, (x,))
    channels = output.shape[1] if isinstance(layer, nn.Conv2d) else output.shape[-1]
    error = (output - target).square().mean() * channels
    (wanted,) = torch.autograd.grad(error, moved)
    assert torch.allclose(problem.gradient(change), wanted, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("layer", LAYERS)
def test_gram_matrix_is_the_problem_of_the_layers_own_output(layer: nn.Module) -> None:
    x = torch.randn(7, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = reconstruction(layer, x, layer(x))
        matrix = GramMatrix(layer)
        for batch in x.split(5):
            matrix.add(batch)
    problem = matrix.problem()
    assert matrix.elements == problem.gram.numel()
    assert torch.allclose(problem.gram, wanted.gram, rtol=1e-5, atol=1e-6)
    assert torch.allclose(problem.cross, wanted.cross, atol=1e-5)
    assert problem.cross.shape == wanted.cross.shape
