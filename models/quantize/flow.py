"""Let other values flow through a network than it computes, and watch them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from models.quantize.activation import weighted_layers
from models.tracing import Forward, replaced, traced

Place = tuple[str, str, int]
"""Of a tensor: "input" or "output", the name of the module, and which call of it (1, 2, ...)."""

_PIXELS = 8  # of a map, in height and in width


@contextmanager
def flow(
    network: nn.Module,
    source: Callable[[Place], Tensor | None],
    note: Callable[[Place, Tensor], None],
) -> Iterator[None]:
    """While it is open, each forward pass of `network` takes values from `source`.

    Places are the inputs and outputs of convolutions, linear layers, BatchNorms and ReLUs.
    source: gives the values (N, C) to put at a place, the same at every pixel, or None to leave
        what is there. It is asked for the outputs of convolutions and linear layers, which are
        then not computed, and for the inputs of BatchNorm and ReLU modules.
    note: is shown what is then at each place, the inputs and outputs alike.

    Modules are called from 1 on, so one forward pass at a time: open it again for the next.
    """
    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.ReLU | nn.ReLU6
    modules = {n: m for n, m in network.named_modules() if isinstance(m, kinds)}
    layers = {layer: name for name, layer in weighted_layers(network).items()}
    calls: Counter[str] = Counter()

    def before(name: str, args: Any) -> None:
        calls[name] += 1
        place = ("input", name, calls[name])
        values = None if modules[name] in layers else source(place)
        if values is not None:
            args[0].copy_(spread(values, args[0].shape))
        note(place, args[0])

    def after(name: str, args: Any, output: Tensor) -> None:
        note(("output", name, calls[name]), output)

    def instead(layer: Any, compute: Forward) -> Forward:
        def forward(x: Tensor) -> Tensor:
            values = source(("output", layers[layer], calls[layers[layer]]))
            if values is None:
                computed: Tensor = compute(x)
                return computed
            return spread(values, (len(x), *compute(x[:1]).shape[1:]))

        return forward

    with traced(modules, before, after), replaced(layers, instead):
        yield


def spread(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat `values` (N, C) over the pixels of `shape`, (N, C, H, W) or (N, ..., C)."""
    if len(shape) == 4:
        return values[:, :, None, None].expand(shape).contiguous()
    return values.view(len(values), *[1] * (len(shape) - 2), -1).expand(shape).contiguous()


def by_channel(x: Tensor, is_linear: bool = False) -> Tensor:
    """Return values of `x`, (N, C, H, W) or (N, ..., C), as (C, n).

    is_linear: whether it is what a linear layer sees or gives, whose channels are always the last.
    Of each map at most 8 x 8 pixels are read, evenly spaced: where all are the same this loses
    nothing.
    """
    if is_linear or x.dim() != 4:
        return x.flatten(0, -2).T
    steps = [-(-size // _PIXELS) for size in x.shape[2:]]
    return x[:, :, :: steps[0], :: steps[1]].transpose(0, 1).flatten(1)
