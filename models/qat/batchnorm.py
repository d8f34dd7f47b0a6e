"""BatchNorm layers of a network that is used at several bit-widths."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from models.qat.layers import Switchable


class PrivateBatchNorm2d(Switchable):
    """One BatchNorm a bit-width, each a copy of `norm` with its own statistics and affine."""

    def __init__(self, norm: nn.BatchNorm2d, choices: Sequence[int]) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.chosen = self.choices[0]
        self.of_bits = nn.ModuleDict({str(bits): copy.deepcopy(norm) for bits in self.choices})

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.of_bits[str(self.chosen)](x)
        return normalised

    def copy_private(self, source: int) -> None:
        """Give every bit-width the statistics and affine of `source`."""
        state = self.of_bits[str(source)].state_dict()
        for norm in self.of_bits.values():
            norm.load_state_dict(state)


class TransitionalBatchNorm2d(Switchable):
    """One BatchNorm a pair of bit-widths: of the layer before, and of the layer it normalises.

    Source: Bulat and Tzimiropoulos, "Bit-Mixer" (ICCV 2021), as described by others; its code is
    not public.

    layer, previous: names of the layer whose output it normalises and of the quantized layer
        called before that one (None for the first).
    before: the bit-width of `previous`; where all are alike it is `chosen`.
    """

    def __init__(
        self, norm: nn.BatchNorm2d, choices: Sequence[int], layer: str, previous: str | None
    ) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.chosen = self.before = self.choices[0]
        self.layer = layer
        self.previous = previous
        pairs = [_pair(before, bits) for before in self.choices for bits in self.choices]
        self.of_bits = nn.ModuleDict({pair: copy.deepcopy(norm) for pair in pairs})

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.of_bits[_pair(self.before, self.chosen)](x)
        return normalised

    def copy_private(self, source: int) -> None:
        """Give every pair the statistics and affine of `source` behind `source`."""
        state = self.of_bits[_pair(source, source)].state_dict()
        for norm in self.of_bits.values():
            norm.load_state_dict(state)


def _pair(before: int, bits: int) -> str:
    return f"{before}_{bits}"


@contextmanager
def statistics_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Leave the running statistics of the BatchNorm layers in `modules` as they are.

    In training mode they go on normalising by the batch.
    """
    norms = [m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
