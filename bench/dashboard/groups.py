"""Cells that differ in their seed alone, taken together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.statistics.intervals import mean_and_spread
from bench.tasks.registry import CLASSIFICATION, task_named

_SAME = ("context", "method_label", "recipe", "bits")
_SHOWN = ("bits_order", "method", "model", "data", "w_bits", "a_bits")


def seed_groups(cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one value a group of done cells: `cells`, their ids, and the mean of the headline of
    their task in percent.

    Spreads and intervals are those of the cells that a reader lets the page show: it has them
    calculated there.

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
    return groups


def _group(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    metric = task_named(members[0].get("task", CLASSIFICATION)).headline
    mean, _ = mean_and_spread([cell[metric.key] for cell in members])
    return {
        **{key: members[0][key] for key in (*_SAME, *_SHOWN)},
        "cells": [cell["id"] for cell in sorted(members, key=lambda cell: cell["seed"])],
        "mean": mean,
    }
