"""How many of how many images cells were evaluated on, where that is a part of them."""

from collections.abc import Mapping, Sequence
from typing import Any


def part_text(seeds: Sequence[Mapping[Any, Any]]) -> str:
    """Return what one cell and all its seeds that are done say; "" where all images are evaluated.

    seeds: as rows of `cell_rows`. One seed: `912/1000 of 50,000`, right of those seen of all;
    several: `1,024 to 2,816 of 50,000 images`.
    """
    parts = [row for row in seeds if _is_number(row.get("part_of"))]
    if not parts:
        return ""
    whole = int(parts[0]["part_of"])
    if len(seeds) == 1:
        return f"{int(parts[0]['correct'])}/{int(parts[0]['total'])} of {whole:,}"
    totals = sorted(int(row["total"]) for row in seeds)
    least, most = totals[0], totals[-1]
    span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{span} of {whole:,} images"


def _is_number(value: Any) -> bool:
    return value is not None and value == value
