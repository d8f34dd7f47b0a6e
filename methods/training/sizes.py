"""Targets for the size of a network whose bits are learned, and a loss that leads there."""

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import NamedTuple

from torch import Tensor, nn

from models.errors import BenchError
from models.qat.sizes import Part, Sizes, input_sizes, weight_sizes
from models.quantize.budget import LARGEST, OF_ACTIVATIONS, OF_WEIGHTS, decided_by
from models.quantize.spec import MIXED, QuantSpec

MIB_BITS = 8 * 2**20
KB_BITS = 8000
"""A kilobyte of the release."""

_MOST_BITS = 16
_SHOWN = {
    **dict.fromkeys(OF_WEIGHTS, "weights, MiB"),
    **dict.fromkeys(OF_ACTIVATIONS, "activations, MiB"),
    LARGEST: "largest activation, MiB",
}


class Target(NamedTuple):
    """What the size of the weights or inputs of a network is to come to.

    limit: the name of the limit, as in `quant`. value: in its unit. size_bits: the same in bits.
    """

    limit: str
    value: float
    sizes: Sizes
    size_bits: float

    @property
    def shown(self) -> str:
        """What the size is called where it is drawn."""
        return _SHOWN[self.limit]

    @property
    def start_bits(self) -> int:
        """Where the bits of its parts start: two more than the whole part of what they may have."""
        sizes = self.sizes
        if self.limit == LARGEST:
            return floor(self.size_bits / max(part.values for part in sizes.parts)) + 2
        free = sum(part.values for part in sizes.parts)
        return floor((self.size_bits - sizes.fixed) / free) + 2

    def size(self) -> Tensor:
        """Return the size now in bits, (), with a gradient."""
        return self.sizes.largest() if self.limit == LARGEST else self.sizes.total()

    def least(self) -> int:
        """Return the size in bits with the fewest bits that each grid can have."""
        return self._size_at(_fewest_bits)

    def _size_at(self, bits: Callable[[Part], int]) -> int:
        at = self.sizes.largest_at if self.limit == LARGEST else self.sizes.total_at
        return at(bits)

    def decided_by(self, bits: Callable[[Part], int]) -> str:
        """Return which layer decides the size with `bits` for each part, to stand behind that."""
        fixed = {each.layer: each.bits for each in self.sizes.others}
        return decided_by(self.limit, self.sizes.of_layers(bits), fixed)

    def excess(self, size: Tensor, unit: str) -> Tensor:
        """Return how much `size` is above the target, 0 where it is not.

        unit: `kB` of 8,000 bits, or the `target` itself.
        """
        one = KB_BITS if unit == "kB" else self.size_bits
        return ((size - self.size_bits) / one).relu()

    def typed(self) -> str:
        """Return the target as it is typed after `quant.`."""
        return f"budget.{self.limit}={self.value:g}"


def check_limits(quant: QuantSpec) -> None:
    """Raise BenchError unless each kind of bits that is open has a limit on its size, and only it.

    A method that learns sizes can heed no other cost.
    """
    for name in quant.limits:
        if name not in (*OF_WEIGHTS, *OF_ACTIVATIONS):
            raise BenchError(
                f"quant.budget.{name} is no size; bits that are learned under a penalty on sizes "
                f"take {', '.join((*OF_WEIGHTS, *OF_ACTIVATIONS))}"
            )
    for bits, names in (("w_bits", OF_WEIGHTS), ("a_bits", OF_ACTIVATIONS)):
        given = [name for name in names if name in quant.limits]
        mixed = getattr(quant, bits) == MIXED
        if mixed and not given:
            raise BenchError(
                f"quant.{bits}=mixed needs a limit, as in quant.budget={{{names[-1]}: 3}}; "
                f"{', '.join(names)} are limits of it"
            )
        if given and not mixed:
            raise BenchError(
                f"quant.budget.{given[0]} has no meaning with quant.{bits}={getattr(quant, bits)}"
            )


def targets_of(network: nn.Module, limits: Mapping[str, float]) -> list[Target]:
    """Return the targets that `limits` set for a quantizable `network`.

    Raises BenchError for one that its fewest bits exceed, or that lies between the two levels of a
    network with a single grid.
    """
    targets = list[Target]()
    for of, names in ((weight_sizes, OF_WEIGHTS), (input_sizes, OF_ACTIVATIONS)):
        for name in names:
            if name in limits and (sizes := of(network)) is not None:
                unit = MIB_BITS if name.endswith("_mb") else sizes.values
                targets.append(Target(name, limits[name], sizes, limits[name] * unit))
    for target in targets:
        _check_reachable(target)
    return targets


def begin(targets: Sequence[Target], bits: int | None) -> None:
    """Let the grids behind `targets` begin at `bits`, None being the `start_bits` of the targets.

    Raises BenchError where there are no such bits, and where they meet a target already.
    """
    started: dict[nn.Module, int] = {}
    for target in targets:
        start = target.start_bits if bits is None else bits
        if start > _MOST_BITS:
            raise BenchError(
                f"quant.{target.typed()} is met by everything: at most {_MOST_BITS} bits are "
                "learned"
            )
        for part in target.sizes.parts:
            quantizer = part.quantizer
            started[quantizer] = max(start, quantizer.lowest_bits, started.get(quantizer, 0))
            quantizer.restart(part.bits, started[quantizer])
    for target in targets:
        size = float(target.size().detach())
        if size <= target.size_bits:
            raise BenchError(
                f"quant.{target.typed()} is met before anything is learned, with "
                f"{size / MIB_BITS:.4g} MiB of {target.size_bits / MIB_BITS:.4g}"
                f"{target.decided_by(lambda part: started[part.quantizer])}; lower the budget or "
                "raise method.bits"
            )


def _check_reachable(target: Target) -> None:
    least, parts = target.least(), target.sizes.parts
    if least > target.size_bits:
        raise BenchError(
            f"quant.{target.typed()} is below the smallest possible: {_fewest(parts)} take "
            f"{least / MIB_BITS:.4g} MiB{target.decided_by(_fewest_bits)}; "
            f"{target.size_bits / MIB_BITS:.4g} are allowed"
        )
    if len(parts) == 1 and parts[0].step.numel() == 1:
        bits = (target.size_bits - target.sizes.fixed) / parts[0].values
        if bits != floor(bits):
            raise BenchError(
                f"quant.{target.typed()} lies between two levels: only the bits of layer "
                f"{parts[0].layer!r} are learned, {floor(bits)} or {floor(bits) + 1}; give one of "
                "these sizes"
            )


def _fewest_bits(part: Part) -> int:
    return part.quantizer.lowest_bits


def _fewest(parts: list[Part]) -> str:
    fewest = sorted(set(map(_fewest_bits, parts)))
    counts = " or ".join(map(str, fewest))
    return f"{counts} bit{'' if fewest == [1] else 's'} everywhere they are learned"
