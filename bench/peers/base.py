"""What a tool is, and what is measured of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

Quantize = Callable[[nn.Module, Tensor, int, int], nn.Module]
"""A float network in eval mode, which it leaves as it is, calibration images (N, C, H, W)
normalised, the bits of weights and of activations (32: float), to a network that is evaluated.
Raises NotApplicable for bits that the tool does not have."""

BATCH = 16
"""Calibration images that a tool is given at once, where it takes several batches."""


class Way(NamedTuple):
    """One way of a tool to quantize. name: as a table has it."""

    name: str
    quantize: Quantize


class Tool(NamedTuple):
    """A tool and its ways.

    packages: of a registry, which must be installed; of the first the version is recorded.
    modules: which these are imported as.
    imports: what its ways import, to be imported before they are timed.
    note: what it does in all its ways that others do otherwise, for readers of the table.
    """

    name: str
    packages: Sequence[str]
    modules: Sequence[str]
    ways: Sequence[Way]
    note: str
    imports: Sequence[str] = ()


class Bits(NamedTuple):
    """Bits of weights and of activations, 32 for float."""

    weights: int
    activations: int

    @property
    def label(self) -> str:
        return f"W{self.weights}A{self.activations}"
