"""Cells that were never run, for commands that only read them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.statistics.intervals import wilson_interval
from bench.tasks.classification import Classification, Correctness


@pytest.fixture
def keep(outputs: Path, make_result: Callable[..., Result]) -> Callable[..., Result]:
    """Put a cell into the store that is right on the given images."""

    def write(
        id: str,
        right: Sequence[bool],
        images: str = "f" * 64,
        seen: Sequence[bool] | None = None,
        **changes: Any,
    ) -> Result:
        top1, part = np.array(right), None if seen is None else np.array(seen)
        correct, total = int(top1.sum()), len(top1)
        low, high = wilson_interval(correct, total)
        method = changes.get("method", "gaussian")
        recipe = {
            "weights": {"source": "a file", "sha256": "0" * 64},
            "quantizer": {"sites": "relu"},
            "batchnorm": "not folded, float",
            "method": {"name": method},
            "evaluation": {"fingerprint": images},
        }
        numbers = {"top1": 100 * correct / total, "correct": correct, "total": total}
        numbers["correct_top5"] = total
        if part is not None:
            numbers["part_of"] = len(part)
        given = {"recipe": recipe, "ci_low": low, "ci_high": high, **numbers, **changes}
        result = make_result(id, **given)
        with Store(outputs).writing(id) as folder:
            Classification().save(folder, Correctness(top1, np.ones_like(top1), part))
            write_result(folder, result)
        return result

    return write
