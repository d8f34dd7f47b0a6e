"""Functions of torch that do something else for a while."""

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


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
