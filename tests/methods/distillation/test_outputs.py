"""Losses of what a network returns, by hand."""

import pytest
import torch

from methods.distillation.outputs import inverse_spread, negative_spread, spread

OUTPUT = torch.tensor([[1.0, -2.0, 5.0], [3.0, 3.0, 4.0]])


def test_spread_by_hand() -> None:
    assert spread(OUTPUT).tolist() == [7, 1]
    assert float(negative_spread(OUTPUT)) == -4
    assert float(inverse_spread(OUTPUT)) == pytest.approx(1 / 4)


def test_equal_outputs_have_a_finite_loss() -> None:
    assert float(inverse_spread(torch.ones(2, 3))) == pytest.approx(1e6)
