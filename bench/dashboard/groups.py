"""Cells that differ in their seed alone, taken together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.statistics.intervals import mean_and_spread, t_interval

_SAME = ("context", "method_label", "recipe", "bits")
_SHOWN = ("bits_order", "method", "model", "data", "w_bits", "a_bits")


def seed_groups(cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one value a group of done cells: mean top-1 in percent with its interval.

    The interval of one seed is that of its images (Wilson, 95 %); of three or more it is that of
    their mean (Student's t, 95 %); two have none. `front` marks the groups of a context that no
    group of at most their size surpasses.

    Two cells of one seed differ in something that their labels do not say. Which of the cells under
    these labels belong together is then not known, and each is a group of its own.
    """
    alike: defaultdict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        if cell["status"] == "done":
            alike[tuple(cell[key] for key in _SAME)].append(cell)
    groups = []
    for members in alike.values():
        seeds = {cell["seed"] for cell in members}
        parts = [members] if len(seeds) == len(members) else [[cell] for cell in members]
        groups += [_group(part) for part in parts]
    for context in {group["context"] for group in groups}:
        _mark_front([group for group in groups if group["context"] == context])
    return groups


def _group(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = members[0]
    values = [cell["top1"] for cell in members]
    mean, _ = mean_and_spread(values)
    low, high, interval = None, None, ""
    if len(values) == 1:
        low, high, interval = first["low"], first["high"], "95 % Wilson interval of its images"
    elif len(values) > 2:
        (low, high), interval = t_interval(values), f"95 % t-interval of {len(values)} seeds"
    sizes = [cell["size_mb"] for cell in members]
    return {
        **{key: first[key] for key in (*_SAME, *_SHOWN)},
        "cells": [cell["id"] for cell in members],
        "mean": mean,
        "low": low,
        "high": high,
        "interval": interval or "two seeds: no interval",
        "size_mb": mean_and_spread(sizes)[0] if None not in sizes else None,
        "front": False,
    }


def _mark_front(groups: Iterable[dict[str, Any]]) -> None:
    best = float("-inf")
    sized = [group for group in groups if group["size_mb"] is not None]
    for group in sorted(sized, key=lambda group: (group["size_mb"], -group["mean"])):
        if group["mean"] > best:
            group["front"], best = True, group["mean"]
