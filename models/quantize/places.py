"""The places of a network where activation quantizers sit."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.quantize.activation import ActivationQuantizer, attach, sites_of
from models.tracing import traced, watched

_POOLS = ("mean", "_adaptive_avg_pool2d", "avg_pool2d")
_SUFFIX = ":output"


class Place(NamedTuple):
    """Of a quantizer: what enters the module of that name, or what it gives."""

    module: str
    side: Literal["input", "output"]


def places_of(network: nn.Module, sites: str, image: Tensor) -> dict[str, Place]:
    """Return where `sites` puts quantizers, by the names that these go by.

    That is the name of the module; with `:output` behind it, for sites "integer", where a quantizer
    sits at the output of a module, which may have another at its input.

    image: (1, C, H, W) normalised input, on the device of the network; for "integer" it passes.
    """
    if sites == "integer":
        return _integer_places(network, image)
    side: Literal["input", "output"] = "output" if sites == "relu" else "input"
    return {name: Place(name, side) for name in sites_of(network, sites)}


def module_of(name: str) -> str:
    """Return the module at which the quantizer that goes by `name` sits."""
    return name.removesuffix(_SUFFIX)


@torch.no_grad()
def _integer_places(network: nn.Module, image: Tensor) -> dict[str, Place]:
    """Return the inputs of convolutions and linear layers, and what enters additions and pools.

    The latter are functions as often as modules. So what they read is quantized where it is made:
    at the output of the first module that returns it. A layer that reads the same tensor has no
    quantizer of its own. What no module makes stays float, but for the input of a pool that is one.
    """
    modules = {
        name: module
        for name, module in network.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    }
    layers = set(sites_of(network, "all"))
    seen = _Seen()
    with traced(modules, seen.enter, seen.leave), watched(seen.note):
        network(image)
    made = {tensor: seen.made[tensor] for tensor in seen.read if tensor in seen.made}
    places: dict[str, Place] = {}
    for name in made.values():
        places.setdefault(name + _SUFFIX, Place(name, "output"))
    for name, tensors in seen.entered.items():
        pools = isinstance(modules[name], nn.AvgPool2d | nn.AdaptiveAvgPool2d)
        reads = [tensor for tensor in tensors if tensor not in made]
        if reads and (name in layers or (pools and any(each in seen.read for each in reads))):
            places[name] = Place(name, "input")
    return places


_Version = tuple[int, int]
"""Of a tensor: its identity, and how often it was changed in place until then."""


class _Seen:
    """A pass. made: which module returned a tensor first. read: what additions and pools read.

    entered: what each module was called with.
    """

    def __init__(self) -> None:
        self.made: dict[_Version, str] = {}
        self.read: dict[_Version, None] = {}
        self.entered: dict[str, list[_Version]] = {}
        self._alive: list[Tensor] = []  # so that no identity is used twice

    def enter(self, name: str, args: Any) -> None:
        if args and isinstance(args[0], Tensor):
            self.entered.setdefault(name, []).append(self._version(args[0]))

    def leave(self, name: str, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self.made.setdefault(self._version(output), name)

    def note(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        kind = func.overloadpacket.__name__.rstrip("_")
        if kind == "add" and all(isinstance(x, Tensor) and x.dim() == 4 for x in args[:2]):
            self.read |= dict.fromkeys(map(self._version, args[:2]))
        elif kind in _POOLS and args[0].dim() == 4:
            self.read[self._version(args[0])] = None

    def _version(self, x: Tensor) -> _Version:
        self._alive.append(x)
        return id(x), x._version


def attach_at(
    network: nn.Module, places: dict[str, Place], quantizers: dict[str, ActivationQuantizer]
) -> None:
    """Put each quantizer at the place of its name, in place; see `activation.attach`."""
    for side, sites in (("output", "relu"), ("input", "all")):
        chosen = {n: q for n, q in quantizers.items() if places[n].side == side}
        attach(network, sites, {places[n].module: q for n, q in chosen.items()})
