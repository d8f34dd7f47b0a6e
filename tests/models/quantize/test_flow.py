"""Other values flow, and afterwards the network is as it was."""

import pytest
import torch
from torch import Tensor, nn

from models.quantize.flow import Place, by_channel, flow, spread


def small() -> nn.Sequential:
    relu = nn.ReLU()
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), relu, nn.Conv2d(2, 2, 1), relu).eval()


def test_values_are_put_and_shown() -> None:
    network = small()
    seen: list[tuple[Place, tuple[int, ...], float]] = []
    conv = torch.tensor([[-1.0, 5.0]])

    def source(place: Place) -> Tensor | None:
        if place == ("output", "0", 1):
            return conv
        return torch.tensor([[3.0, 4.0]]) if place == ("input", "1", 2) else None

    def note(place: Place, x: Tensor) -> None:
        seen.append((place, tuple(x.shape), x[0, 0, 0, 0].item()))

    with flow(network, source, note), torch.no_grad():
        output = network(torch.zeros(1, 1, 9, 7))
    assert output.shape == (1, 2, 4, 3)
    assert output[0, :, 2, 1].tolist() == [3, 4]
    assert [place for place, _, _ in seen] == [
        ("input", "0", 1),
        ("output", "0", 1),
        ("input", "1", 1),
        ("output", "1", 1),
        ("input", "2", 1),
        ("output", "2", 1),
        ("input", "1", 2),
        ("output", "1", 2),
    ]
    assert seen[1][1:] == ((1, 2, 4, 3), -1)
    assert seen[3][2] == 0
    assert seen[6][2] == 3


def test_network_is_as_before_even_after_an_error() -> None:
    network = small()
    x = torch.randn(2, 1, 9, 7)
    before = network(x)

    def fail(place: Place, x: Tensor) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), flow(network, lambda place: None, fail):
        network(x)
    assert torch.equal(network(x), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not any("forward" in vars(m) for m in network.modules())


def test_spread_and_by_channel() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert spread(values, (2, 2, 3, 5))[1, 1].unique().tolist() == [4]
    assert torch.equal(spread(values, (2, 2)), values)
    assert spread(values, (2, 7, 2))[0, 3].tolist() == [1, 2]
    assert by_channel(values).tolist() == [[1, 3], [2, 4]]
    assert by_channel(torch.randn(3, 4, 30, 5)).shape == (4, 3 * 8 * 5)
    assert by_channel(torch.randn(3, 7, 9, 4), is_linear=True).shape == (4, 3 * 7 * 9)
    small = torch.randn(3, 4, 8, 8)
    assert torch.equal(by_channel(small), small.transpose(0, 1).reshape(4, -1))
