"""Float networks on the device, loaded once for the cells that share them."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn

from bench.machine.device import Device
from bench.tasks.registry import DETECTION
from models.canonical import Behaviour, behaviour, canonical
from models.detection import rows_of
from models.errors import BenchError
from models.preprocessing import Words, laid_out
from models.zoo import Weights, entry
from models.zoo.weights import load

_KEPT = 2


class FloatNetwork(NamedTuple):
    """A network in its canonical form, frozen. sha256: of its weights, None when it is untrained.

    behaviour: what two images of noise have shown of it.
    """

    network: nn.Module
    sha256: str | None
    behaviour: Behaviour


class Networks:
    """The networks that a process used last, in eval mode and frozen."""

    def __init__(self) -> None:
        self._load = lru_cache(maxsize=_KEPT)(_load)

    def get(self, name: str, weights: Weights, device: Device) -> FloatNetwork:
        """Return the network called `name`.

        A detector is in the form of `models.detection`.

        Raises BenchError when its weights cannot be had, and when it does not return logits.
        """
        return self._load(name, weights, device.device, device.memory_format)

    def forget(self) -> None:
        """Load networks anew from now on, because one may have been left half changed."""
        self._load.cache_clear()


def _load(
    name: str, weights: Weights, device: torch.device, layout: torch.memory_format
) -> FloatNetwork:
    if weights.locate is None:
        network, sha256 = entry(name).network(), None
    else:
        network, sha256 = load(entry(name), weights)
    if entry(name).task == DETECTION:
        network = rows_of(network, weights.preprocessing.size).eval()
    noise = torch.Generator().manual_seed(0)
    if isinstance(weights.preprocessing, Words):
        _check_vocabulary(network, name, weights.preprocessing)
    network = network.to(memory_format=layout).to(device)
    images = laid_out(weights.preprocessing.noise(2, noise).to(device), layout)
    network = canonical(network, images[:1]).requires_grad_(False)
    return FloatNetwork(network, sha256, behaviour(network, images))


@torch.no_grad()
def _check_vocabulary(network: nn.Module, name: str, words: Words) -> None:
    """Raise BenchError for a network, on the CPU, that has no row for the highest id."""
    try:
        network.eval()(words.noise(1, torch.Generator().manual_seed(0)))
    except (IndexError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "num_embeddings" not in str(error):
            raise  # of a bag of embeddings it says this
        raise BenchError(
            f"{name} has a table of fewer rows than the {words.vocabulary} ids that words are given"
            "; make the vocabulary of its preprocessing the number of its rows"
        ) from error
