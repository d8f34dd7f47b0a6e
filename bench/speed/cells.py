"""What whole cells cost: bit-widths after the first, and images distilled in bfloat16."""

from typing import Any

from bench.config import read_config
from bench.experiments import compose_raw
from bench.result import Result
from bench.run import run_cell
from bench.speed.ratio import Ratio, Side
from bench.speed.workplace import Measure, Workplace
from models.errors import BenchError

_CELL = ("model=resnet20", "data=mnist5k", "method=zeroq", "method.images=16", "tracking=none")
_WHAT = "resnet20, 16 images"
_FIRST = (8, 8)
_MORE = ((7, 7), (6, 6), (5, 5), (4, 4), (3, 3), (8, 4), (4, 8), (6, 8), (8, 6))
_COMPARED = (4, 4)
_AT_MOST = 0.05


def cell(place: Workplace, bits: tuple[int, int], precision: str = "fp32") -> Result:
    """Measure a cell of resnet20 and ZeroQ in the workplace's folder, unless it is there.

    bits: of weights and activations. Raises BenchError when the cell fails.
    """
    quant = (f"quant.w_bits={bits[0]}", f"quant.a_bits={bits[1]}")
    config = read_config(compose_raw([*_CELL, *quant, f"paths.outputs={place.outputs}"]))
    runtime = place.runtime.model_copy(update={"precision": precision})
    result = run_cell(config.model_copy(update={"runtime": runtime})).result
    if result is None or result.status != "done":
        raise BenchError(f"a cell that is timed failed: {result and result.reason}")
    return result


def more_recipes(place: Workplace) -> list[Ratio]:
    """Return the synthesis time of nine bit-widths after the first over that of the first."""
    first = cell(place, _FIRST).seconds["synthesise"]
    more = [cell(place, bits).seconds["synthesise"] for bits in _MORE]
    return [
        Ratio(
            f"synthesis for nine more bit-widths / for the first: {_WHAT}",
            Side("nine bit-widths together", sum(more)),
            Side("the first", first),
            goal=_AT_MOST,
            details={"bits": [list(bits) for bits in (_FIRST, *_MORE)]},
        )
    ]


def bfloat16_images(place: Workplace) -> list[Ratio]:
    """Return the synthesis time in float32 over that in bfloat16, and top-1 with the images."""
    # The images of all bit-widths are those that the first one distilled.
    full = cell(place, _FIRST).seconds["synthesise"]
    half = cell(place, _COMPARED, "bf16")
    top1: dict[str, Any] = {"fp32": cell(place, _COMPARED).top1, "bf16": half.top1}
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
