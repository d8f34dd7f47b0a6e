"""Layers that do something else for a while, without a change of the network."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

Forward = Callable[..., Any]


@contextmanager
def replaced(
    layers: Iterable[nn.Module], wrap: Callable[[Any, Forward], Forward]
) -> Iterator[None]:
    """Inside, each layer's forward is what `wrap` makes of the layer and its own forward."""
    before = {layer: vars(layer).get("forward") for layer in layers}
    try:
        for layer in before:
            vars(layer)["forward"] = wrap(layer, layer.forward)
        yield
    finally:
        for layer, own in before.items():
            if own is None:
                vars(layer).pop("forward", None)
            else:
                vars(layer)["forward"] = own


class Instead(TorchFunctionMode):
    """Inside it, calls of torch's `function` go to `replacement`, which may call `function`.

    It costs about a microsecond for each call of any function of torch, so it is for the inside of
    one layer, not for a network.
    """

    def __init__(self, function: Callable[..., Any], replacement: Callable[..., Any]):
        super().__init__()
        self._function, self._replacement = function, replacement

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        called = self._replacement if func is self._function else func
        return called(*args, **(kwargs or {}))
