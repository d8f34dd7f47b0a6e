"""Delta_B of CoQuant (Sun et al., WACV 2024): accuracy relative to networks of their own bits."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import pandas as pd

from bench.tables.summarise import row_keys

REFERENCE = "individual"
"""The method with a network of its own for each bit-width, whose Delta_B is 100."""

DELTA_B_TITLE = "Δ_B"

BySeed = dict[int, float]
"""Top-1 in percent of each seed that is done."""


def delta_b(top1: Sequence[BySeed], reference: Sequence[BySeed]) -> dict[int, float]:
    """Return Delta_B in percent for each seed that is done at all bit-widths.

    It is the mean over bit-widths of 100 x top-1 / top-1 of the reference, the latter being the
    mean over its seeds. Both sequences are over the same bit-widths. Nothing is returned where the
    reference is not measured at one of them.
    """
    if not top1 or len(top1) != len(reference) or not all(reference):
        return {}
    seeds = [seed for seed in top1[0] if all(seed in at_bits for at_bits in top1)]
    wholes = [mean(at_bits.values()) for at_bits in reference]
    if not all(wholes):
        return {}
    return {
        seed: mean(100 * at_bits[seed] / whole for at_bits, whole in zip(top1, wholes, strict=True))
        for seed in seeds
    }


def delta_b_column(cells: pd.DataFrame) -> list[str] | None:
    """Return Delta_B of each row of the table of `cells`, as text, in their order.

    A row's reference is the one of the same network, data and quantizer; of several, the one with
    its own parameters. Without exactly one, the text is empty.
    None where it has no meaning: without the reference among the methods, or at one bit-width.
    """
    bits = list(dict.fromkeys(zip(cells["w_bits"], cells["a_bits"], strict=True)))
    if REFERENCE not in set(cells["method"]) or len(bits) < 2 or cells["method"].nunique() < 2:
        return None
    keys = row_keys(cells)
    place = cells.groupby(keys, sort=False, dropna=False).ngroup()
    labels = cells.loc[~place.duplicated(), keys].astype(str).to_dict("records")
    rows: list[dict[tuple[Any, Any], BySeed]] = [{each: {} for each in bits} for _ in labels]
    names = ("w_bits", "a_bits", "status", "seed", "top1")
    for row, w_bits, a_bits, status, seed, top1 in zip(
        place, *(cells[name] for name in names), strict=True
    ):
        if status == "done":
            rows[row][w_bits, a_bits][seed] = top1
    values = [[row[each] for each in bits] for row in rows]
    references = [_reference_of(label, labels) for label in labels]
    return [
        "" if reference is None else _text(delta_b(row_values, values[reference]))
        for row_values, reference in zip(values, references, strict=True)
    ]


def _reference_of(label: Mapping[Any, str], labels: Sequence[Mapping[Any, str]]) -> int | None:
    """Return the place of the row that `label` is relative to; None where it is not one row."""
    conditions = [key for key in label if not key.startswith("method")]
    parameters = [key for key in label if key.startswith("method.")]
    places = [
        place
        for place, other in enumerate(labels)
        if other["method"] == REFERENCE and all(other[key] == label[key] for key in conditions)
    ]
    if len(places) > 1:
        places = [at for at in places if all(labels[at][key] == label[key] for key in parameters)]
    return places[0] if len(places) == 1 else None


def _text(of_seeds: BySeed) -> str:
    values = list(of_seeds.values())
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "not run"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"
