"""Delta_B of CoQuant (Sun et al., WACV 2024): accuracy relative to networks of their own bits."""

from collections.abc import Sequence
from statistics import mean, stdev

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
    own = [mean(at_bits.values()) for at_bits in reference]
    if not all(own):
        return {}
    return {
        seed: mean(100 * at_bits[seed] / whole for at_bits, whole in zip(top1, own, strict=True))
        for seed in seeds
    }


def delta_b_column(cells: pd.DataFrame) -> list[str] | None:
    """Return Delta_B of each row of the table of `cells`, as text, in their order.

    None where it has no meaning: without the reference among the methods, or at one bit-width.
    """
    bits = list(dict.fromkeys(cells["w_bits"]))
    if REFERENCE not in set(cells["method"]) or len(bits) < 2 or cells["method"].nunique() < 2:
        return None
    place = cells.groupby(row_keys(cells), sort=False, dropna=False).ngroup()
    rows: list[dict[int, BySeed]] = [{each: {} for each in bits} for _ in range(place.nunique())]
    reference: dict[int, BySeed] = {each: {} for each in bits}
    columns = (place, *(cells[name] for name in ("method", "status", "w_bits", "seed", "top1")))
    for row, method, status, w_bits, seed, top1 in zip(*columns, strict=True):
        if status == "done":
            rows[row][w_bits][seed] = top1
            if method == REFERENCE:
                reference[w_bits][seed] = top1
    own = [reference[each] for each in bits]
    return [_text(delta_b([row[each] for each in bits], own)) for row in rows]


def _text(of_seeds: BySeed) -> str:
    values = list(of_seeds.values())
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "not run"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"
