"""Measured top-1 beside what papers print for the same label."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.cells.result import Result
from bench.papers.protocol import IMAGES, protocol_differences
from bench.papers.published import Published, printable
from models.quantize.labels import bits_label

_NEEDED = {"quantizer", "method", "calibration"}


def paper_differences(
    groups: Sequence[Mapping[str, Any]],
    results: Mapping[str, Result],
    published: Iterable[Published],
) -> dict[str, Any]:
    """Return `differences`, one a pair of a published number and a measured group of its label.

    results: by id. Differences are measured minus published, in points; `differs` says in what
    the two are known to be made otherwise, and `unknown` what is not known of the published one.
    `printed` counts the numbers that may be shown, and `part` the groups that a number would be
    for, had they not been evaluated on a part of its images.
    """
    numbers = [p for p in published if p.metric == "top1" and printable(p)]
    floats = {(p.paper, p.table, p.model): p.value for p in numbers if p.method == "float"}
    by_label: dict[tuple[str, ...], list[Published]] = {}
    for number in numbers:
        if (bits := _bits(number)) is not None:
            label = (number.model, number.data, number.method, bits)
            by_label.setdefault(label, []).append(number)
    rows, part = [], 0
    for place, group in enumerate(groups):
        result = results[group["cells"][0]]
        same = by_label.get((result.model, result.data, result.method, result.bits), [])
        if not same or not result.recipe.model_fields_set >= _NEEDED:
            continue
        if IMAGES.get(result.data) not in (None, result.total):
            part += 1
            continue
        rows += [_difference(place, group["mean"], number, result, floats) for number in same]
    return {"differences": rows, "printed": len(numbers), "part": part}


def _difference(
    place: int,
    mean: float,
    number: Published,
    result: Result,
    floats: Mapping[tuple[str, str, str], float],
) -> dict[str, Any]:
    float_top1 = floats.get((number.paper, number.table, number.model))
    protocol = protocol_differences(number, result, float_top1)
    copied = ("paper", "table", "row", "kind", "source", "note")
    return {
        **{"group": place, "points": mean - number.value, "value": number.value},
        **{key: getattr(number, key) for key in copied},
        **{"differs": protocol.texts, "unknown": protocol.unknown},
    }


def _bits(number: Published) -> str | None:
    """Return such as `W4A8`; None where a number is of no one bit-width, or of an unknown size."""
    size = number.recipe.get("size_mb")
    if number.w_bits is None or number.a_bits is None or (number.w_bits == "mixed" and not size):
        return None
    return bits_label(number.w_bits, number.a_bits, {"size_mb": size} if size else {})
