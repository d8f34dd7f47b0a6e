"""What an action means in bits, and how a choice is brought within its budget (HAQ's release)."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import BenchError

Bits = NDArray[np.int64]
"""(n,), of what is to be chosen in the order in which it is chosen."""


def bits_of(actions: NDArray[np.float64], candidates: Sequence[int], variant: str) -> Bits:
    """Return the bits that `actions` in 0..1 stand for.

    HAQ's round((max - min + 1) a + min - 0.5), halves to even (lib/env/quantize_env.py,
    `_action_wall`), where the candidates are all numbers from min to max; elsewhere the same on
    their indices. At a = 0 and an odd min that is one bit below min: so it stays with variant
    `release`; with `paper` bits are always among the candidates.
    """
    ordered = np.array(sorted(candidates))
    count = len(ordered)
    if ordered[-1] - ordered[0] + 1 == count:
        bits = np.round(count * actions + ordered[0] - 0.5).astype(np.int64)
        lowest = ordered[0] - 1 if variant == "release" else ordered[0]
        return bits.clip(max(lowest, 0), ordered[-1])
    return ordered[np.round(count * actions - 0.5).astype(np.int64).clip(0, count - 1)]


def lower(bits: int, candidates: Sequence[int]) -> int:
    """Return the candidate below `bits`, or `bits` where there is none."""
    return max((each for each in candidates if each < bits), default=bits)


def within(bits: Bits, candidates: Sequence[Sequence[int]], fits: Callable[[Bits], bool]) -> Bits:
    """Return `bits` lowered as little as the budget demands.

    One after the other, from the last to the first, each is lowered to the next of its candidates,
    over and over, until `fits` says so of the whole: what HAQ does a bit at a time, found by
    halving each round, because every lowering costs less.

    Ends with the lowest of all where nothing fits.
    """
    bits = bits.copy()
    while not fits(bits):
        lowered = np.array([lower(b, of) for b, of in zip(bits, candidates, strict=True)])
        places = np.flatnonzero(lowered < bits)[::-1]
        if not len(places):
            break
        too_few, enough = 0, len(places)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if fits(_replaced(bits, lowered, places[:middle])):
                enough = middle
            else:
                too_few = middle
        bits = _replaced(bits, lowered, places[:enough])
    return bits


def within_fastest(
    bits: Bits, fastest: Bits, fits: Callable[[Bits], bool], limits: Iterable[str]
) -> Bits:
    """Return `bits` with as many of `fastest` in their place, from the last on, as limits demand.

    For a table of latencies in which fewer bits are slower, so that lowering does not meet it.
    limits: names of the costs. Raises BenchError where not even all of `fastest` fit, as may be
    where there are several.
    """
    bits = bits.copy()
    for place in reversed(range(len(bits))):
        if fits(bits):
            return bits
        bits[place] = fastest[place]
    if not fits(bits):
        raise BenchError(
            f"neither the fewest bits nor the fastest meet {' and '.join(limits)} together; raise "
            "one of these limits"
        )
    return bits


def within_pinned(
    bits: Bits,
    candidates: Sequence[Sequence[int]],
    fits: Callable[[Bits], bool],
    pinned: Mapping[int, int],
) -> Bits:
    """Return `bits` lowered as `within` does, but some of them set whatever was chosen.

    pinned: bits by index. HAQ's linear environment sets those of the first and the last layer after
    each lowering and not before the first (lib/env/linear_quantize_env.py, `_final_action_wall`),
    so a choice that needs no lowering keeps what the agent said.
    """
    bits = bits.copy()
    changes = True
    while not fits(bits) and changes:
        before = bits.copy()
        for place in reversed(range(len(bits))):
            bits[place] = lower(int(bits[place]), candidates[place])
            for index, fixed in pinned.items():
                bits[index] = fixed
            if fits(bits):
                break
        changes = bool((bits != before).any())
    return bits


def _replaced(bits: Bits, lowered: Bits, places: NDArray[np.int64]) -> Bits:
    changed = bits.copy()
    changed[places] = lowered[places]
    return changed
