"""Layers and functions of torch are replaced inside a block and put back after it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from methods.distillation.intercept import Instead, replaced


def doubled(layer: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: 2 * forward(x)


def test_forward_is_replaced_inside_the_block_only() -> None:
    layer, other, x = nn.ReLU(), nn.ReLU(), torch.tensor([-1.0, 3.0])
    network = nn.Sequential(layer, other, layer)
    with replaced([layer], doubled):
        assert network(x).tolist() == [0, 12]
        with replaced([layer, other], doubled):
            assert network(x).tolist() == [0, 96]
        assert network(x).tolist() == [0, 12]
    assert network(x).tolist() == [0, 3]
    assert "forward" not in vars(layer)


def test_a_forward_of_its_own_is_put_back_after_an_error() -> None:
    layer = nn.ReLU()
    own: Callable[[Tensor], Tensor] = lambda x: x + 1  # noqa: E731
    layer.forward = own  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="inside"), replaced([layer], doubled):
        assert layer(torch.ones(1)).tolist() == [4]
        raise RuntimeError("inside")
    assert layer.forward is own


def test_a_function_of_torch_is_called_instead_of_another() -> None:
    x = torch.tensor([-1.0, 3.0])

    def replacement(input: Tensor, inplace: bool = False) -> Tensor:
        return relu(input) + 1

    with Instead(relu, replacement):
        assert nn.ReLU()(x).tolist() == [1, 4]
        assert torch.sigmoid(x).shape == (2,)
        assert x.abs().tolist() == [1, 3]
    assert nn.ReLU()(x).tolist() == [0, 3]
