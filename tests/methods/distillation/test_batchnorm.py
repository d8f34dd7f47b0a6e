"""Inputs of BatchNorm layers are collected in call order, and nothing is left behind."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from methods.distillation.batchnorm import (
    batchnorms,
    calls_in_order,
    check_statistics,
    running_statistics,
    scale_and_shift,
    see_inputs,
)
from models.canonical import canonical
from models.errors import BenchError, NotApplicable
from tests.models.frozen import frozen_network


class Backwards(nn.Module):
    """Calls its layers in another order than they are listed in; returns a number."""

    def __init__(self) -> None:
        super().__init__()
        self.never, self.last, self.first, self.twice = (nn.BatchNorm2d(1) for _ in range(4))
        self.finished = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.twice(self.twice(self.first(x) + 1)) * 2)
        self.finished += 1
        return x.sum()


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


def test_frozen_layers_have_statistics_once_the_network_is_canonical() -> None:
    network, image = frozen_network(eps=0.0), torch.randn(1, 3, 8, 8)
    assert batchnorms(network) == [], "no BatchNorm2d is among its modules"
    frozen, x = network[1], torch.randn(2, 4, 5, 5)
    expected = frozen(x), running_statistics(frozen)
    check_statistics(canonical(network, image))
    assert calls_in_order(network, image) == [(network[1], 36), (network[4], 16)]
    scale, shift = scale_and_shift(network[1])
    assert torch.allclose(x * scale + shift, expected[0], atol=1e-5)
    assert all(map(torch.equal, running_statistics(network[1]), expected[1]))


def test_calls_in_order() -> None:
    network = Backwards().eval()
    found = calls_in_order(network, torch.randn(1, 1, 3, 2))
    expected = [network.first, network.twice, network.twice, network.last]
    assert found == [(layer, 6) for layer in expected]


def test_no_layer_is_called() -> None:
    network = nn.ModuleDict({"unused": nn.BatchNorm2d(1)})
    network.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(NotApplicable, match=r"^the network has no BatchNorm statistics to match$"):
        calls_in_order(network, torch.zeros(1, 1, 2, 2))


def test_maps_of_one_pixel() -> None:
    with pytest.raises(NotApplicable, match="1x1 maps, whose variance over pixels does not exist"):
        calls_in_order(nn.BatchNorm2d(1).eval(), torch.zeros(1, 1, 1, 1))


def test_inputs_by_call() -> None:
    network = Backwards().eval()
    x = torch.randn(2, 1, 3, 3)
    seen, output = see_inputs(network, x, lambda activation: activation)
    assert len(seen) == 4
    assert seen[0] is x
    assert torch.equal(seen[1], network.first(x) + 1)
    assert torch.equal(seen[2], network.twice(seen[1]))
    assert torch.equal(seen[3], network.twice(seen[2]) * 2)
    assert output is not None
    assert torch.equal(output, network.last(seen[3]).sum())


@pytest.mark.parametrize("calls", [1, 3, 4])
def test_what_lies_behind_the_last_call_is_not_run(calls: int) -> None:
    network = Backwards().eval()
    seen, output = see_inputs(network, torch.randn(2, 1, 3, 3), Tensor.sum, calls)
    assert (len(seen), output, network.finished) == (calls, None, 0)
    see_inputs(network, torch.randn(2, 1, 3, 3), Tensor.sum)
    assert network.finished == 1


def twice_the_input(call: int, x: Tensor) -> tuple[Tensor, int]:
    """Stands for BatchNorm, and notes the number of the call."""
    return 2 * x, call


def test_normalised_by_another() -> None:
    network = Backwards().eval()
    x = torch.randn(2, 1, 3, 3)
    seen, output = see_inputs(network, x, lambda _: -1, normalise=twice_the_input)
    assert seen == [0, 1, 2, 3]
    assert output is not None
    torch.testing.assert_close(output, (16 * (2 * x + 1)).sum())
    seen, output = see_inputs(network, x, lambda _: -1, 3, twice_the_input)
    assert (seen, output) == ([0, 1, -1], None)


def test_an_activation_of_the_layer_itself_stays() -> None:
    layer = BatchNormAct2d(1).eval()
    x = torch.tensor([-1.0, 3.0]).view(1, 1, 1, 2)
    seen, output = see_inputs(layer, x, lambda _: -1, normalise=twice_the_input)
    assert seen == [0]
    assert output is not None
    assert output.flatten().tolist() == [0, 6]


class ByHand(nn.BatchNorm2d):
    """Does its arithmetic itself."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        return x - self.running_mean.view(1, -1, 1, 1)


class Scaled(nn.BatchNorm2d):
    """Normalises something else than its input, and its input afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x) + super().forward(x)


class Borrowed(nn.BatchNorm2d):
    """Normalises with weights that are not the layer's own."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        weight = torch.full_like(self.running_mean, 3.0)
        return batch_norm(x, self.running_mean, self.running_var, weight, self.bias)


@pytest.mark.parametrize(
    "layer",
    [ByHand(1).eval(), Borrowed(1).eval(), nn.BatchNorm2d(1).train()],
    ids=["by hand", "borrowed", "training"],
)
def test_what_is_no_plain_batchnorm_does_its_own_work(layer: nn.Module) -> None:
    x = torch.randn(2, 1, 3, 3)
    expected = layer(x)
    seen, output = see_inputs(layer, x, lambda _: -1, normalise=twice_the_input)
    assert seen == [-1]
    assert output is not None
    assert torch.equal(output, expected)


def test_only_the_input_itself_is_normalised_by_another() -> None:
    x = torch.randn(2, 1, 3, 3)
    layer = Scaled(1, eps=0.0).eval()
    seen, output = see_inputs(layer, x, lambda _: -1, normalise=twice_the_input)
    assert seen == [0]
    assert output is not None
    torch.testing.assert_close(output, 2 * x + 2 * x)


@pytest.mark.parametrize("affine", [True, False])
def test_scale_and_shift_are_the_layer(affine: bool) -> None:
    layer = nn.BatchNorm2d(3, eps=0.1, affine=affine).eval().requires_grad_(False)
    layer.running_mean, layer.running_var = torch.tensor([[0.0, 1.0, -2.0], [0.9, 0.15, 3.9]])
    if affine:
        layer.weight.copy_(torch.tensor([1.0, 2.0, -3.0]))
        layer.bias.copy_(torch.tensor([0.0, 5.0, 1.0]))
    scale, shift = scale_and_shift(layer)
    expected = ([1, 4, -1.5], [0, 1, -2]) if affine else ([1, 2, 0.5], [0, -2, 1])
    assert scale.shape == shift.shape == (1, 3, 1, 1)
    assert scale.flatten().tolist() == pytest.approx(expected[0])
    assert shift.flatten().tolist() == pytest.approx(expected[1])


def test_forwards_are_put_back_after_an_error() -> None:
    layer = nn.BatchNorm2d(1)
    with pytest.raises(ValueError, match="expected 4D"):
        see_inputs(layer, torch.zeros(2), Tensor.sum)
    with pytest.raises(ValueError, match="expected 4D"):
        calls_in_order(layer, torch.zeros(1, 1, 2))
    see_inputs(layer, torch.zeros(2, 1, 2, 2), Tensor.sum, calls=1)
    assert "forward" not in vars(layer)


def test_statistics_of_no_data() -> None:
    trained, fresh = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    trained.running_mean = torch.tensor([0.0, 0.1])
    check_statistics(nn.Sequential(trained, fresh))
    check_statistics(nn.Conv2d(1, 1, 1))
    with pytest.raises(BenchError, match=r"^every BatchNorm .* mean 0 and variance 1, .*trained"):
        check_statistics(nn.Sequential(fresh, nn.BatchNorm2d(1)))


@pytest.mark.parametrize(
    ("which", "value"),
    [("mean", float("nan")), ("var", float("inf")), ("mean", -float("inf")), ("var", -0.1)],
)
def test_broken_statistics(which: str, value: float) -> None:
    layer = nn.BatchNorm2d(2)
    setattr(layer, f"running_{which}", torch.tensor([0.5, value]))
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Sequential(nn.ReLU(), layer))
    with pytest.raises(BenchError, match=r"^the BatchNorm '1\.1' has running statistics that are"):
        check_statistics(network)
    with pytest.raises(BenchError, match=r"^the BatchNorm 'network' has running statistics"):
        check_statistics(layer)
