"""Modules are watched, or replaced, inside a block and left as they were after it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.tracing import Enough, call_names, replaced, traced


class Twice(nn.Module):
    """A layer that is called twice, with a keyword the second time, and one that is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.ReLU()
        self.relu = nn.ReLU()
        self.tanh = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(input=self.tanh(self.relu(x)))
        return out


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_calls_are_shown_in_order_with_what_goes_in_and_out() -> None:
    network, x = Twice(), torch.tensor([-1.0, 2.0])
    parts = dict(network.named_children())
    events: list[tuple[Any, ...]] = []
    with traced(
        parts,
        before=lambda name, args: events.append(("before", name, len(args))),
        after=lambda name, args, output: events.append(("after", name, output.tolist())),
    ):
        network(x)
    tanh = torch.tanh(torch.tensor(2.0)).item()
    assert events == [
        ("before", "relu", 1),
        ("after", "relu", [0, 2]),
        ("before", "tanh", 1),
        ("after", "tanh", [0, tanh]),
        ("before", "relu", 0),
        ("after", "relu", [0, tanh]),
    ]
    assert call_names(network, parts, x) == ["relu", "tanh", "relu"]
    assert hooks(network) == 0


def test_what_is_returned_changes_nothing() -> None:
    network, x = Twice(), torch.tensor([-1.0, 2.0])
    expected = network(x)
    parts = dict(network.named_children())
    with traced(parts, before=lambda *_: x + 1, after=lambda *_: x + 1):  # type: ignore[arg-type]
        assert torch.equal(network(x), expected)


def test_the_hooks_are_gone_after_an_error_and_others_stay() -> None:
    network = Twice()
    network.relu.register_forward_hook(lambda *_: None)
    runs: list[str] = []

    def stop(name: str, *_: object) -> None:
        runs.append(name)
        raise Enough

    with pytest.raises(Enough), traced({"relu": network.relu}, before=stop, after=stop):
        network(torch.ones(1))
    assert runs == ["relu"]
    assert hooks(network) == 1


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
