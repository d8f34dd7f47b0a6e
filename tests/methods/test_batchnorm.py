"""Inputs of BatchNorm layers are collected, and nothing is left behind."""

import pytest
import torch
from torch import nn

from methods.batchnorm import batchnorms, inputs_of, running_statistics


def test_layers_with_statistics() -> None:
    first = nn.BatchNorm2d(2)
    network = nn.Sequential(
        first,
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.Sequential(nn.BatchNorm2d(3, affine=False)),
        nn.BatchNorm1d(2),
    )
    assert batchnorms(network) == [first, network.get_submodule("2.0")]
    mean, var = running_statistics(first)
    assert (mean.tolist(), var.tolist()) == ([0, 0], [1, 1])


def test_inputs_by_call() -> None:
    twice, once, never = nn.BatchNorm2d(1), nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    network = nn.Sequential(twice, once, twice).eval()
    x = torch.randn(2, 1, 3, 3)
    with inputs_of([twice, once, never]) as seen:
        network(x)
    assert [len(seen[layer]) for layer in (twice, once, never)] == [2, 1, 0]
    assert seen[twice][0] is x
    assert torch.equal(seen[once][0], twice(x))


def test_hooks_are_removed_after_an_error() -> None:
    layer = nn.BatchNorm2d(1)
    with pytest.raises(ValueError, match="expected 4D"), inputs_of([layer]) as seen:
        layer(torch.zeros(2))
    assert not layer._forward_pre_hooks
    layer(torch.zeros(2, 1, 2, 2))
    assert len(seen[layer]) == 1  # the one that raised
