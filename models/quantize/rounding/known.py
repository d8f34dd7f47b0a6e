"""Gram matrices of a float network's inputs, which no bit-width changes."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import Tensor

from models.quantize.rounding.surrounding import Surrounding

LAYER = 2**24
"""Elements of a matrix that is remembered, at most: 64 MiB."""
ALL = 2**26
"""Elements of all that are remembered, at most: 256 MiB."""


class KnownGrams:
    """The mean of x x' over the patches x that enter a layer, (groups, d, d), by the layer's name.

    They are of one network, one set of images, and BatchNorm folded or not. Those beyond `LAYER`
    and `ALL` are not remembered.
    """

    def __init__(self, grams: Mapping[str, Tensor]) -> None:
        self._grams = dict(grams)
        self._room = ALL - sum(gram.numel() for gram in grams.values())
        self.grown = False

    @property
    def grams(self) -> Mapping[str, Tensor]:
        return self._grams

    def get(self, name: str) -> Tensor | None:
        return self._grams.get(name)

    def add(self, name: str, gram: Tensor) -> None:
        """Remember `gram` of the layer called `name`, if there is room and it is new."""
        size = gram.numel()
        if name in self._grams or size > min(LAYER, self._room):
            return
        self._grams[name] = gram
        self._room -= size
        self.grown = True


_KNOWN = Surrounding[KnownGrams]("known Gram matrices")


def known_grams(known: KnownGrams) -> AbstractContextManager[None]:
    """Inside, roundings that look at float inputs take the matrices of `known`, and add to it."""
    return _KNOWN.holding(known)


def known_now() -> KnownGrams | None:
    """Return what is known where this is called; None outside `known_grams`."""
    return _KNOWN.now()
