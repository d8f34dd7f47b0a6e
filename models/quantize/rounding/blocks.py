"""The blocks of a network: parts that are called on one tensor and give one, found from itself."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.rounding.segments import segments
from models.tracing import Enough, traced

_BATCH = 32  # images at a time through the network
_TOLERANCE = 1e-4  # of the largest value, by which a block that is called alone may differ


class Block(NamedTuple):
    """Modules of a network that are called one on what the other gives.

    modules: their names; the first has all the convolutions and linear layers, the others none.
    layers: the names of these, in the order of their calls.
    calls: how often a forward pass calls it; more than once only of a single layer.
    """

    modules: tuple[str, ...]
    layers: tuple[str, ...]
    calls: int = 1

    @property
    def name(self) -> str:
        return self.modules[0]


@dataclass
class _Call:
    """One call of a module.

    source, result: the tensor that it takes and gives, where it is one; with each, as a number, how
        often it had been changed in place by then.
    example: copies of both, of modules that may become blocks of several layers.
    """

    name: str
    source: Tensor | None
    taken: int = 0
    given: int = 0
    example: list[Tensor] = field(default_factory=list)
    result: Tensor | None = None
    inner: int = 0


def find_blocks(network: nn.Module, layers: Sequence[str], image: Tensor) -> list[Block]:
    """Return the blocks that hold `layers`, each of them once, in the order of their calls.

    A block is the largest module whose layers, two or more, lie within one segment of the network
    (`models.quantize.rounding.segments`): a residual unit, or one of parallel branches. Where a
    class of modules has such blocks, its others of no more layers are blocks too, as an inverted
    residual without its shortcut. Every other layer is a block of its own. With a block go the
    modules that directly follow it, one on the output of the other, and keep the shape: BatchNorm
    and activation.

    A block takes and gives one tensor, is called once, and gives the same when it is called alone;
    a module that does not is looked into.

    layers: names of convolutions and linear layers in the order of their calls.
    image: (1, 3, H, W) normalised input, which passes a few times.
    """
    finder = _Finder(network, layers, image)
    units = finder.units()
    found = [*units, *finder.alone(units)]
    order = {name: at for at, name in enumerate(layers)}
    return sorted(found, key=lambda block: order[block.layers[0]])


class _Finder:
    def __init__(self, network: nn.Module, layers: Sequence[str], image: Tensor) -> None:
        self._network = network
        self._layers = layers
        self._modules = {name: m for name, m in network.named_modules() if name}
        self._inside = {
            name: tuple(n for n in layers if n == name or n.startswith(f"{name}."))
            for name in self._modules
        }
        self._several = [name for name, inside in self._inside.items() if len(inside) > 1]
        self._calls = _calls_of(network, self._modules, self._several, image)
        self._times = Counter(call.name for call in self._calls)
        self._first = {call.name: at for at, call in reversed(list(enumerate(self._calls)))}
        of_layers = {name: self._modules[name] for name in layers}
        self._segment = segments(network, of_layers, image)

    def units(self) -> list[Block]:
        """Return the blocks of several layers."""
        chosen: list[str] = []
        for name in self._several:
            together = len({self._segment[layer] for layer in self._inside[name]}) == 1
            if together and not self._overlapping(name, chosen) and self._stands_alone(name):
                chosen.append(self._core(name))
        largest: dict[type, int] = {}
        for name in chosen:
            kind = type(self._modules[name])
            largest[kind] = max(largest.get(kind, 0), len(self._inside[name]))
        for name in self._several:
            # Any number of layers can be in a Sequential: that one is a block says nothing of it.
            kind = type(self._modules[name])
            alike = len(self._inside[name]) <= largest.get(kind, 0)
            within = self._overlapping(name, chosen)
            larger = all(len(self._inside[n]) < len(self._inside[name]) for n in within)
            listed = issubclass(kind, nn.Sequential | nn.ModuleList)
            if alike and larger and not listed and self._stands_alone(name):
                chosen = [n for n in chosen if n not in within] + [name]
        return [self._block(name) for name in chosen]

    def alone(self, units: Sequence[Block]) -> list[Block]:
        """Return the layers that are in no block of several."""
        taken = {name for unit in units for name in unit.layers}
        return [self._block(name) for name in self._layers if name not in taken]

    def _block(self, name: str) -> Block:
        times = self._times[name]
        follow = self._followers(self._calls[self._first[name]]) if times == 1 else []
        return Block((name, *follow), self._inside[name], times)

    def _overlapping(self, name: str, chosen: Sequence[str]) -> list[str]:
        return [n for n in chosen if not set(self._inside[n]).isdisjoint(self._inside[name])]

    def _core(self, name: str) -> str:
        """Return the only module inside that does all that a module does, or the module itself."""
        children = [f"{name}.{child}" for child, _ in self._modules[name].named_children()]
        if len(children) == 1 and children[0] in self._first:
            outer, inner = (self._calls[self._first[n]].example for n in (name, children[0]))
            same = len(inner) == 2 and all(map(torch.equal, outer, inner))
            if same and self._stands_alone(children[0]):
                return self._core(children[0])
        return name

    def _is_plain(self, call: _Call) -> bool:
        both = call.source is not None and call.result is not None
        return both and self._times[call.name] == 1

    def _stands_alone(self, name: str) -> bool:
        """Return whether a module is called once, on one tensor, and needs nothing else."""
        if name not in self._first or not self._is_plain(self._calls[self._first[name]]):
            return False
        x, wanted = self._calls[self._first[name]].example
        with suppress(Exception):  # whatever a module says that is called otherwise than it expects
            given = self._modules[name](x.clone())
            return bool((given - wanted).abs().max() <= _TOLERANCE * wanted.abs().max())
        return False

    def _followers(self, call: _Call) -> Iterator[str]:
        """Yield what is called directly after a call, one on the output of the other."""
        while (at := self._first[call.name] + 1 + call.inner) < len(self._calls):
            after = self._calls[at]
            directly = after.source is call.result and after.taken == call.given
            if not directly or not self._is_plain(after) or self._inside[after.name]:
                return
            assert after.result is not None and call.result is not None
            if after.result.shape != call.result.shape:
                return
            yield after.name
            call = after


def _calls_of(
    network: nn.Module, modules: dict[str, nn.Module], copied: Sequence[str], image: Tensor
) -> list[_Call]:
    """Return the calls of `modules` in the order in which they begin.

    copied: the names of those whose calls have examples.
    """
    calls: list[_Call] = []
    open_calls: list[_Call] = []
    with_example = set(copied)

    def before(name: str, args: Any) -> None:
        alone = len(args) == 1 and isinstance(args[0], Tensor)
        call = _Call(name, args[0] if alone else None)
        call.taken = args[0]._version if alone else 0
        if call.source is not None and name in with_example:
            call.example.append(call.source.clone())  # it may be changed in place
        for outer in open_calls:
            outer.inner += 1
        calls.append(call)
        open_calls.append(call)

    def after(name: str, args: Any, output: Any) -> None:
        call = open_calls.pop()
        call.result = output if isinstance(output, Tensor) else None
        call.given = call.result._version if call.result is not None else 0
        if call.result is not None and name in with_example:
            call.example.append(call.result.clone())

    with traced(modules, before, after):
        network(image)
    return calls


def function_of(network: nn.Module, block: Block) -> Callable[[Tensor], Tensor]:
    """Return a block of `network` as a function of its input."""
    modules = [network.get_submodule(name) for name in block.modules]

    def run(x: Tensor) -> Tensor:
        for module in modules:
            x = module(x)
        return x

    return run


def inputs_and_outputs(network: nn.Module, block: Block, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what enters and what leaves a block for `images` (N, 3, H, W), each (N x calls, ...).

    What lies behind it is not computed. Raises NotApplicable where it is called on several shapes.
    """
    kept: list[list[Tensor]] = [[], []]
    ends = {block.modules[0], block.modules[-1]}

    def before(name: str, args: Any) -> None:
        if name == block.modules[0]:
            kept[0].append(args[0].clone())  # the block may change it in place

    def after(name: str, args: Any, output: Tensor) -> None:
        if name == block.modules[-1]:
            kept[1].append(output.clone())
            if len(kept[1]) % block.calls == 0:
                raise Enough

    modules = {name: network.get_submodule(name) for name in ends}
    with torch.no_grad(), traced(modules, before, after):
        for batch in images.split(_BATCH):
            with suppress(Enough):
                network(batch)
    if len({x.shape[1:] for x in kept[0]}) > 1:
        raise NotApplicable(
            f"the layer {block.name!r} is called on tensors of several shapes, and blocks are "
            "reconstructed on one; give quant.rounding=adaround"
        )
    inputs, outputs = (torch.cat(tensors) for tensors in kept)
    return inputs, outputs
