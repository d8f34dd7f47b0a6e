"""A result as the config and the summary of its W&B run, so that tables can be made of runs.

Config and summary have the names of `result.json`: the config says what was measured and how, the
summary what it came to.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.cells.migrations import migrated
from bench.cells.result import COSTS, LATER, OF_PARTS, Result
from models.errors import BenchError

_NUMBERS = (
    *("status", "reason", "top1", "top5", "correct", "correct_top5", "total", "left_out"),
    *("classes", "ci_low", "ci_high", "fp32_top1", "fp32_expected", "lost", "gained"),
    *(key for key in LATER if key != "task"),
    *OF_PARTS,
    *COSTS,
    *("logit_mse", "peak_memory_bytes"),
)
_AXES = ("model", "weights", "method", "variant", "data", "w_bits", "a_bits", "seed")
_PHASES = (
    *(
        "float",
        "load",
        "decode",
        "synthesise",
        "sensitivity",
        "search",
        "train",
        "quantize",
        "evaluate",
    ),
    "total",
)
# A traceback has paths of the machine, and the checksum is that of a file.
_LEFT_OUT = {"traceback", "checksum"}
_EARLIER = "record"
"""Key of the whole result as JSON text, in the config of runs of earlier versions."""


def to_config(result: Result, recipe_name: str) -> dict[str, Any]:
    """Return the config of a run: the result but for its numbers, which the summary has.

    With `bits`, such as W4A8, and `recipe_name`, of the nearest preset. `cell_id` is the id.
    """
    known = result.model_dump(mode="json", exclude={*_NUMBERS, "seconds", *_LEFT_OUT})
    id = known.pop("id")
    return {"cell_id": id, "bits": result.bits, "recipe_name": recipe_name or "float"} | known


def summary(result: Result) -> dict[str, Any]:
    """Return the numbers of a cell under keys that are the same for every cell of its task.

    With what charts have on their axes. `seconds/total` is how long the cell took; what W&B calls
    the runtime is how long its run took to write.
    """
    values = result.model_dump(mode="json", include={*_NUMBERS, *_AXES})
    seconds = {f"seconds/{phase}": result.seconds.get(phase) for phase in _PHASES}
    return {"cell_id": result.id} | values | seconds | _other_phases(result)


def _other_phases(result: Result) -> dict[str, float]:
    return {f"seconds/{name}": s for name, s in result.seconds.items() if name not in _PHASES}


def read_copy(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Result:
    """Return the result in a run, one of an earlier version as one of the present.

    Raises BenchError when there is no whole one.
    """
    try:
        content = _content(config, summary)
        return Result.model_validate(migrated(content) if isinstance(content, dict) else content)
    except ValidationError as error:
        raise BenchError(
            f"has a record of another version ({error.error_count()} keys do not fit)"
        ) from error
    except ValueError as error:
        raise BenchError("has a record that is not whole") from error


def _content(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Any:
    if isinstance(text := config.get(_EARLIER), str):
        return json.loads(text)
    if "cell_id" not in config or "recipe" not in config:
        raise BenchError("has no record of a cell")
    known = {key: value for key, value in config.items() if key in Result.model_fields}
    numbers = {key: summary[key] for key in _NUMBERS if key in summary}
    prefix = "seconds/"
    seconds = {
        key.removeprefix(prefix): value
        for key, value in summary.items()
        if key.startswith(prefix) and value is not None
    }
    return {**known, **numbers, "id": config["cell_id"], "seconds": seconds}
