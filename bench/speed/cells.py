"""What whole cells cost: bit-widths after the first, and images distilled in bfloat16."""

import time
from typing import Any, NamedTuple

from bench.cells.cell import plan
from bench.cells.request import request_of
from bench.cells.result import Result
from bench.config.compose import compose
from bench.config.schema import read_config
from bench.measure.run import run_cell
from bench.speed.ratio import Ratio, Side
from bench.speed.workplace import Measure, Workplace
from models.errors import BenchError

_CELL = ("model=resnet20", "data=mnist5k", "method=zeroq", "method.images=16", "tracking=none")
_WHAT = "resnet20, 16 images"
_FIRST = (8, 8)
_MORE = ((7, 7), (6, 6), (5, 5), (4, 4), (3, 3), (8, 4), (4, 8), (6, 8), (8, 6))
_COMPARED = (4, 4)
_AT_MOST = 0.05
_SWEEP_AT_MOST = 1.05


class Timed(NamedTuple):
    """A cell, and the seconds from its configuration to its record."""

    result: Result
    seconds: float


def cell(place: Workplace, bits: tuple[int, int], precision: str = "fp32") -> Timed:
    """Measure a cell of resnet20 and ZeroQ in the workplace's folder, unless it is there.

    bits: of weights and activations. Raises BenchError when the cell fails.
    """
    quant = (f"quant.w_bits={bits[0]}", f"quant.a_bits={bits[1]}")
    config = read_config(compose([*_CELL, *quant, f"paths.outputs={place.outputs}"]))
    runtime = place.runtime.model_copy(update={"precision": precision})
    begun = time.perf_counter()
    request = request_of(config.model_copy(update={"runtime": runtime}))
    result = run_cell(plan(request, place.resources.listings), place.resources).result
    seconds = time.perf_counter() - begun
    if result is None or result.status != "done":
        raise BenchError(f"a cell that is timed failed: {result and result.reason}")
    return Timed(result, seconds)


def more_recipes(place: Workplace) -> list[Ratio]:
    """Return what nine bit-widths after the first cost: their synthesis, and all of them.

    The first one is charged with all that they share: the images, the float network, the synthesis.
    """
    first = cell(place, _FIRST)
    more = [cell(place, bits) for bits in _MORE]
    shared = first.result.seconds["synthesise"]
    evaluations = sum(each.result.seconds["evaluate"] for each in more)
    details = {"bits": [list(bits) for bits in (_FIRST, *_MORE)]}
    return [
        Ratio(
            f"synthesis for nine more bit-widths / for the first: {_WHAT}",
            Side(
                "nine bit-widths together", sum(each.result.seconds["synthesise"] for each in more)
            ),
            Side("the first", shared),
            goal=_AT_MOST,
            details=details,
        ),
        Ratio(
            f"sweep of ten bit-widths / one cell and nine evaluations: {_WHAT}",
            Side("ten cells", first.seconds + sum(each.seconds for each in more)),
            Side("the first cell, and the evaluations of the others", first.seconds + evaluations),
            goal=_SWEEP_AT_MOST,
            details=details,
        ),
    ]


def bfloat16_images(place: Workplace) -> list[Ratio]:
    """Return the synthesis time in float32 over that in bfloat16, and top-1 with the images."""
    # The images of all bit-widths are those that the first one distilled.
    full = cell(place, _FIRST).result.seconds["synthesise"]
    half = cell(place, _COMPARED, "bf16").result
    top1: dict[str, Any] = {"fp32": cell(place, _COMPARED).result.top1, "bf16": half.top1}
    return [
        Ratio(
            f"synthesis in float32 / in bfloat16: {_WHAT}",
            Side("all steps in float32, once", full),
            Side("all steps in bfloat16, once", half.seconds["synthesise"]),
            details={
                "cell": "W{}A{}".format(*_COMPARED),
                "top1_percent": top1,
                "difference_points": round(top1["bf16"] - top1["fp32"], 4),
            },
        )
    ]


MEASURES = [
    Measure("ten bit-widths of resnet20", more_recipes),
    Measure("resnet20 with images distilled in bfloat16", bfloat16_images),
]
