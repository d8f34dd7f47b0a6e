"""Watch the modules of a network while it computes, or let them compute something else."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

Forward = Callable[..., Any]
Before = Callable[[str, Any], None]
"""Shown the name of a module that is called, and the tuple of its positional arguments."""
After = Callable[[str, Any, Any], None]
"""As `Before`, when the module has computed; and what it returns."""


Operation = Callable[[Any, Any, Any, Any], None]
"""Shown an operation of PyTorch, its positional and its keyword arguments, and its result."""


class Enough(Exception):
    """Raised from inside a forward pass to end it: nothing that is further on is needed."""


@contextmanager
def traced(
    modules: Mapping[str, nn.Module], before: Before | None = None, after: After | None = None
) -> Iterator[None]:
    """Inside, `before` and `after` are called at each call of one of `modules`, in that order.

    What they return is ignored; they may change tensors in place, and what they raise ends the
    forward pass. Afterwards the modules have the hooks that they had, whatever is raised inside.
    """
    with ExitStack() as stack:
        for name, module in modules.items():
            if before is not None:
                stack.callback(_hook_before(name, module, before).remove)
            if after is not None:
                stack.callback(_hook_after(name, module, after).remove)
        yield


@contextmanager
def watched(note: Operation) -> Iterator[None]:
    """Inside, `note` is called behind each operation on tensors, whatever carries it out."""
    with _Watching(note):
        yield


def call_names(network: nn.Module, modules: Mapping[str, nn.Module], images: Tensor) -> list[str]:
    """Return the names of `modules` as one forward pass of `images` (N, C, H, W) calls them.

    One that is called several times is there as often.
    """
    names: list[str] = []
    with traced(modules, before=lambda name, _: names.append(name)):
        network(images)
    return names


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
        for layer, forward in before.items():
            if forward is None:
                vars(layer).pop("forward", None)
            else:
                vars(layer)["forward"] = forward


# A hook that returns anything but None would change what the module gets or gives.
def _hook_before(name: str, module: nn.Module, before: Before) -> RemovableHandle:
    def hook(_: nn.Module, args: Any) -> None:
        before(name, args)

    return module.register_forward_pre_hook(hook)


def _hook_after(name: str, module: nn.Module, after: After) -> RemovableHandle:
    def hook(_: nn.Module, args: Any, output: Any) -> None:
        after(name, args, output)

    return module.register_forward_hook(hook)


class _Watching(TorchDispatchMode):
    def __init__(self, note: Operation) -> None:
        super().__init__()
        self.note = note

    # Not defined in the class: PyTorch would import its compiler, which takes seconds.
    __torch_dispatch__: Any


def _dispatch(
    self: Any, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
) -> Any:
    kwargs = kwargs or {}
    output = func(*args, **kwargs)
    self.note(func, args, kwargs, output)
    return output


_Watching.__torch_dispatch__ = _dispatch


def place_of(x: Tensor) -> int:
    """Return where `x` lies in memory: the same for tensors that share their values."""
    return x.untyped_storage().data_ptr()
