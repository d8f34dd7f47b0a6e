"""Functions of torch are replaced inside a block and put back after it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from methods.distillation.intercept import Instead


def test_a_function_of_torch_is_called_instead_of_another() -> None:
    x = torch.tensor([-1.0, 3.0])

    def replacement(input: Tensor, inplace: bool = False) -> Tensor:
        return relu(input) + 1

    with Instead(relu, replacement):
        assert nn.ReLU()(x).tolist() == [1, 4]
        assert torch.sigmoid(x).shape == (2,)
        assert x.abs().tolist() == [1, 3]
    assert nn.ReLU()(x).tolist() == [0, 3]
