"""Cells of a network that finds masks, on two images: from polygons to mAP, stored and compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.tables.cell_rows import recorded_rows
from bench.tracking.result_copy import read_copy, summary, to_config
from tests.bench.cells_of import run_cell
from tests.bench.tasks.masked import MODEL, write

Make = Callable[..., Config]
Measure = Callable[..., Result]


@pytest.fixture
def measured(make_config: Make, tmp_path: Path) -> Measure:
    """Measure the float network, with a change in the annotation of the second object."""

    def measure(change: dict[str, Any] | None = None, **bits: int) -> Result:
        data = write(tmp_path / f"set{len(list(tmp_path.iterdir()))}", change)
        config = {"model": MODEL, "data": data, "method": {"name": "gaussian", "images": 2}}
        quant = {"quant.w_bits": 32, "quant.a_bits": 32, "quant.sites": "all"}
        result = run_cell(make_config(config | quant | bits)).result
        assert result is not None and result.status == "done", result and result.reason
        return result

    return measure


def test_boxes_and_masks_have_numbers_of_their_own(measured: Measure, outputs: Path) -> None:
    result = measured()
    assert (result.map, result.boxes, result.objects) == (pytest.approx(100), 2, 2)
    # Pasted, a box of 10 pixels is 12: the first object has 100 of 144 pixels, which is right at
    # the thresholds 0.50 to 0.65. Of the second the right half is found, 50 of 122: never right.
    assert result.masks is not None
    assert result.mask_map == result.masks["map"] == pytest.approx((40 + 0) / 2)
    assert (result.masks["map_50"], result.masks["map_75"]) == (pytest.approx(50), 0)
    assert result.masks["map_large"] is None
    assert result.of_task.in_words(vars(result)) == "mAP 100.00 %, of masks 20.00 %"
    rows = recorded_rows([result])
    assert rows["mask_map"].tolist() == [result.mask_map]
    assert read_copy(to_config(result, ""), summary(result)).masks == result.masks

    items = Store(outputs).items(result.id)
    assert items.masks == result.masks, "read back, they are rated the same"
    areas = [int(np.prod(found.masks[0]["size"])) for found in items.found]
    assert areas == [40 * 20, 16 * 16], "in pixels of the images as they were"
    file = outputs / "cells" / result.id / "detections.npz"
    assert file.stat().st_size < 20_000


def test_quantized_the_same_masks_are_found(measured: Measure, outputs: Path) -> None:
    bits = {"quant.w_bits": 8, "quant.a_bits": 8}
    float_result, result = measured(), measured(**bits)
    assert (result.mask_map, result.fp32_map) == (float_result.mask_map, float_result.map)
    store = Store(outputs)
    task, items = result.of_task, [store.items(r.id) for r in (float_result, result)]
    assert task.difference(*items) is None
    assert [each["size"] for found in items[1].found for each in found.masks] == [
        [20, 40],
        [16, 16],
    ]


@pytest.mark.parametrize("change", [{"segmentation": None}, {"segmentation": []}])
def test_objects_without_masks_are_rated_by_boxes(
    measured: Measure, outputs: Path, change: dict[str, Any]
) -> None:
    result = measured(change)
    assert (result.map, result.masks, result.mask_map) == (pytest.approx(100), None, None)
    record = json.loads((outputs / "cells" / result.id / "result.json").read_bytes())
    assert "masks" not in record and record["map"] == pytest.approx(100)
    assert "mask_map" not in recorded_rows([result])
    with np.load(outputs / "cells" / result.id / "detections.npz") as kept:
        assert not [name for name in kept if "mask" in name]


def test_another_mask_is_another_cell(measured: Measure) -> None:
    first, again = measured(), measured()
    moved = measured({"segmentation": [[7, 2, 12, 2, 12, 12, 7, 12]]})
    assert first.id == again.id != moved.id
    # The right half is the object now, 50 pixels of the 72 that are found: right up to 0.65.
    assert moved.mask_map == pytest.approx((40 + 40) / 2)
