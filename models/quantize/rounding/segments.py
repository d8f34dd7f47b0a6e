"""Where all that a network has computed so far is one tensor, and what lies between such places."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from models.tracing import place_of, traced, watched


def segments(network: nn.Module, layers: Mapping[str, nn.Module], image: Tensor) -> dict[str, int]:
    """Return in which segment of `network` each of `layers` computes, counted from 1.

    A segment ends where everything behind it depends on what is before it through a single tensor:
    a chain of layers has one segment for each, and a residual unit, however it is built, is in one.
    A layer that is not called is missing, and of one that is called several times the last counts.

    image: (1, 3, H, W) normalised input, which passes once.
    """
    graph = _Graph()
    graph.start(image)
    computed: dict[str, int] = {}

    def note(name: str, args: Any, output: Any) -> None:
        computed[name] = graph.node(output)

    with traced(layers, after=note), watched(graph.note):
        output = network(image)
    cuts = graph.cuts(tree_leaves(output))
    return {name: bisect_left(cuts, node) for name, node in computed.items()}


class _Graph:
    """Operations on what was made of the image, in the order they are carried out."""

    def __init__(self) -> None:
        self._edges: list[tuple[int, int]] = []
        self._count = 0
        # By storage: a view, or what was changed in place, is the newest that is there.
        self._nodes: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no storage is used twice

    def start(self, image: Tensor) -> None:
        self._nodes[place_of(image)] = 0

    def node(self, value: Any) -> int:
        """Return the operation whose result is the first tensor of `value`."""
        return next((n for x in _tensors(value) if (n := self._of(x)) is not None), 0)

    def note(self, _: Any, args: Any, kwargs: Any, made: Any) -> None:
        sources = {n for x in _tensors((args, kwargs)) if (n := self._of(x)) is not None}
        if not sources:
            return
        self._count += 1
        self._edges += [(source, self._count) for source in sources]
        for x in _tensors(made):
            self._nodes[place_of(x)] = self._count
            self._alive.append(x)

    def cuts(self, outputs: Iterable[Any]) -> list[int]:
        """Return the operations that no path from the image to `outputs` passes by, rising."""
        live = {n for x in _tensors(outputs) if (n := self._of(x)) is not None}
        for source, target in reversed(self._edges):  # those that end later come first
            if target in live:
                live.add(source)
        reach = [0] * (self._count + 1)
        for source, target in self._edges:
            if target in live:
                reach[source] = max(reach[source], target)
        # The furthest that is reached from before each operation.
        furthest = list(accumulate(reach, max, initial=0))
        return [n for n in sorted(live) if furthest[n] <= n]

    def _of(self, x: Tensor) -> int | None:
        return self._nodes.get(place_of(x))


def _tensors(value: Any) -> list[Tensor]:
    return [x for x in tree_leaves(value) if isinstance(x, Tensor) and x.numel()]
