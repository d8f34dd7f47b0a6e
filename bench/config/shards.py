"""A part of a sweep, for several machines without a scheduler: `shard=1/4`."""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.errors import BenchError

_SHARD = re.compile(r"(\d+)/(\d+)")
_BITS = ("quant", "recipe")

Words = tuple[str, ...]


class Shard(NamedTuple):
    """Part `number`, 1..`parts`, of a sweep."""

    number: int
    parts: int

    def __str__(self) -> str:
        return f"{self.number}/{self.parts}"


def without_shard(overrides: Iterable[str]) -> tuple[list[str], Shard | None]:
    """Return `overrides` without `shard=I/N`, and what it says; of two the later counts.

    Raises BenchError unless 1 <= I <= N.
    """
    rest: list[str] = []
    shard = None
    for override in overrides:
        key, _, text = override.partition("=")
        if key == "shard":
            shard = None if text == "null" else _read(text)
        else:
            rest.append(override)
    return rest, shard


def _read(text: str) -> Shard:
    match = _SHARD.fullmatch(text.strip("'\""))
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.number <= shard.parts:
        raise BenchError(
            f"shard={text} is no part of a sweep; give shard=I/N with I from 1 to N, such as "
            "shard=1/4"
        )
    return shard


def jobs_of_shard(jobs: Sequence[list[str]], shard: Shard) -> list[list[str]]:
    """Return the jobs of one shard, in the order of the sweep. All shards together are `jobs`.

    Which they are depends on the words by which the jobs differ and on nothing else, so every
    machine comes to the same division; the words that all share, such as paths, may differ.

    Jobs that differ in `quant` and `recipe` alone are a family: they share calibration images and
    trainings. The families, in the order of their words, are dealt to the shards like cards, each
    round beginning one shard further, so that every shard gets some of each model and method. Then
    the shards are laid in a row, which is cut into equal parts. A cut inside a family moves to the
    family's nearer end if that is within an eighth of a part. So no shard is more than a quarter
    (and a job, where parts are not whole) larger than an equal part, and families are divided only
    where this needs it.
    """
    common = set[str].intersection(*map(set, jobs)) if jobs else set()
    words = [tuple(sorted(set(job) - common)) for job in jobs]
    families: dict[Words, list[int]] = {}
    for index in sorted(range(len(jobs)), key=lambda index: (words[index], index)):
        families.setdefault(_family(words[index]), []).append(index)
    dealt: list[list[list[int]]] = [[] for _ in range(shard.parts)]
    for place, (_, family) in enumerate(sorted(families.items())):
        dealt[(place + place // shard.parts) % shard.parts].append(family)
    row = [family for hand in dealt for family in hand]
    ends = [0, *itertools.accumulate(map(len, row))]
    start, stop = (_cut(number, shard.parts, ends) for number in (shard.number - 1, shard.number))
    return [jobs[index] for index in sorted(list(itertools.chain(*row))[start:stop])]


def _family(words: Words) -> Words:
    """Return the words that are not about bits and quantizers."""
    return tuple(w for w in words if w.partition("=")[0].partition(".")[0] not in _BITS)


def _cut(number: int, parts: int, ends: Sequence[int]) -> int:
    """Return where the first `number` of `parts` of a row end; its families end at `ends`."""
    equal = ends[-1] * number / parts
    nearest = min(ends, key=lambda end: abs(end - equal))
    return nearest if abs(nearest - equal) <= ends[-1] / parts / 8 else round(equal)
