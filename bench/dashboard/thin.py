"""Fewer points of a curve than there are."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def thinned(points: Sequence[T], count: int) -> list[T]:
    """Return at most `count` (two or more) of `points`, evenly spread, with the first and last."""
    if len(points) <= count:
        return list(points)
    last = len(points) - 1
    return [points[round(place * last / (count - 1))] for place in range(count)]
