"""The error of an output as a function of the weight, against the error itself."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from models.errors import NotApplicable
from models.quantize.rounding.reconstruction import (
    GramMatrix,
    patches_of,
    reconstruction,
    reconstruction_of_calls,
)

LAYERS = [
    nn.Conv2d(6, 4, 3, padding=1, stride=2),
    nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
    nn.Conv2d(6, 8, (1, 3), groups=2, padding="same", padding_mode="reflect"),
    nn.Conv2d(6, 4, (3, 2), dilation=(1, 2), padding="same"),
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


def test_calls_on_maps_of_several_sizes_count_by_their_patches() -> None:
    layer, generator = LAYERS[0], torch.Generator().manual_seed(0)
    with torch.no_grad():
        calls = []
        for side in (4, 8):
            x = torch.randn(5, 6, side, side, generator=generator)
            calls.append((x, layer(x) + 0.1))
        problem = reconstruction_of_calls(layer, calls)
        small, large = (reconstruction(layer, *call) for call in calls)
    for name in ("gram", "cross"):  # of 2 x 2 and 4 x 4 patches an image
        wanted = (getattr(small, name) + 4 * getattr(large, name)) / 5
        assert torch.allclose(getattr(problem, name), wanted, atol=1e-5)


def test_a_layer_that_sees_nothing_has_no_problem() -> None:
    matrix = GramMatrix(LAYERS[0])
    for batch in ([], [torch.zeros(0, 6, 8, 8)]):
        for x in batch:
            matrix.add(x)
        with pytest.raises(NotApplicable, match="as the heads of a detector do where it finds no"):
            matrix.problem()


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_patches_are_what_kernels_with_a_single_1_copy(layer: nn.Conv2d) -> None:
    x = torch.randn(3, 6, 7, 6, generator=torch.Generator().manual_seed(0))
    size = layer.weight[0].numel()
    copies = torch.eye(size).repeat(layer.groups, 1).view(-1, *layer.weight.shape[1:])
    parameters = {"weight": copies, "bias": torch.zeros(len(copies))}
    if layer.bias is None:
        del parameters["bias"]
    copied = functional_call(layer, parameters, (x,)).flatten(2).unflatten(1, (layer.groups, size))
    assert torch.equal(patches_of(layer, x), copied.permute(1, 2, 0, 3).flatten(2))


class Padding(nn.Conv2d):
    """As some libraries pad by themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.pad(x, (0, 1, 2, 0))
        return nn.functional.conv2d(x, self.weight, stride=self.stride)


class Silent(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_layer_that_pads_by_itself_and_one_that_is_no_convolution() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    found = patches_of(Padding(1, 1, 2, stride=2, bias=False), x)
    assert found[0].T.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 3, 4], [2, 0, 5, 0]]
    with pytest.raises(NotApplicable, match=r"a Silent computes its output without torch\.conv2d"):
        patches_of(Silent(1, 1, 3), x)
