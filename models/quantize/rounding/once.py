"""Learned weights of a network, which cells share that differ in what comes after them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.quantize.rounding.base import Rounded, Rounding
from models.quantize.rounding.block import BlockRounding
from models.quantize.rounding.surrounding import Surrounding


class Learned(NamedTuple):
    """What learning the weights of a network leaves behind.

    tensors: `network.NAME` of its state, `quantizers.NAME` of theirs, `generators.NUMBER`.
    layers: what storing a weight takes, and the warning, of `Rounded`, by the layer's name.
    """

    tensors: Mapping[str, Tensor]
    layers: Mapping[str, tuple[int | None, str]]


Keeper = Callable[[Callable[[], Learned]], Learned]
"""Returns what was kept, or what its argument makes, which it keeps."""

_KEEPER = Surrounding[Keeper]("keeper of learned weights")


def learned_by(keeper: Keeper) -> AbstractContextManager[None]:
    """Inside, weights that are learned are those of `keeper`."""
    return _KEEPER.holding(keeper)


def is_learned(rounding: Rounding | BlockRounding) -> bool:
    """Return whether a rounding takes so long that its weights are worth keeping."""
    if isinstance(rounding, BlockRounding):
        return True
    return rounding.inputs == "quantized" or rounding.finetuning is not None


def learned_once(
    learn: Callable[[], dict[str, Rounded]],
    network: nn.Module,
    quantizers: Mapping[str, nn.Module],
    generators: tuple[torch.Generator, ...],
) -> dict[str, Rounded]:
    """Return what `learn` returns, which changes the rest; or let the rest be as it leaves it.

    network: whose weights are learned. quantizers: of its activations, where they are learned with
    them. generators: that are drawn from.
    """
    keeper = _KEEPER.now()
    if keeper is None:
        return learn()
    just_learned: dict[str, Rounded] | None = None

    def make() -> Learned:
        nonlocal just_learned
        just_learned = learn()
        sizes = {name: (each.size_bits, each.warning) for name, each in just_learned.items()}
        return Learned(_state(network, quantizers, generators), sizes)

    kept = keeper(make)
    if just_learned is not None:
        return just_learned
    _restore(kept.tensors, network, quantizers, generators)
    return {
        name: Rounded(network.get_submodule(name).get_parameter("weight").detach(), *each)
        for name, each in kept.layers.items()
    }


def _state(
    network: nn.Module,
    quantizers: Mapping[str, nn.Module],
    generators: tuple[torch.Generator, ...],
) -> dict[str, Tensor]:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name, quantizer in quantizers.items():
        own = quantizer.state_dict()
        tensors |= {f"quantizers.{name}.{key}": value for key, value in own.items()}
    states = {f"generators.{i}": each.get_state() for i, each in enumerate(generators)}
    return tensors | states


def _restore(
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    quantizers: Mapping[str, nn.Module],
    generators: tuple[torch.Generator, ...],
) -> None:
    network.load_state_dict(_under("network.", tensors))
    for name, quantizer in quantizers.items():
        quantizer.load_state_dict(_under(f"quantizers.{name}.", tensors))
    for i, generator in enumerate(generators):
        generator.set_state(tensors[f"generators.{i}"].cpu())


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
