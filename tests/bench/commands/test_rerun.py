import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.tasks.classification import Classification, Correctness
from tests.bench.conftest import FAST, Finished, records

Bench = Callable[..., Finished]


@pytest.fixture
def cell(bench_main: Bench, outputs: Path) -> str:
    """The id of a measured cell whose calibration is cached."""
    done = bench_main(
        "run", *FAST, "method=zeroq", "method.images=4", "method.iterations=3",
        "quant.w_bits=3", f"paths.outputs={outputs}",
    )  # fmt: skip
    assert done.status == 0
    return next(id for id, record in records(outputs).items() if record["method"] == "zeroq")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same(bench_main: Bench, outputs: Path, cell: str) -> None:
    record = records(outputs)[cell]
    before = content(outputs / "cells" / cell)
    assert list((outputs / "cache" / "calibration").glob("*/images.safetensors"))
    shutil.rmtree(outputs / "cache" / "calibration")
    done = bench_main("rerun", cell[:6], f"paths.outputs={outputs}")
    assert done == (
        0,
        f"resnet20 mnist5k zeroq W3A3 seed 0: recorded {record['correct']}/10\n"
        f"same: {record['correct']}/10, every image as recorded\n",
        "",
    )
    assert content(outputs / "cells" / cell) == before
    # Made anew, and not kept.
    assert not (outputs / "cache" / "calibration").exists()


def test_a_float_cell(bench_main: Bench, outputs: Path, cell: str) -> None:
    reference = records(outputs)[cell]["fp32_id"]
    done = bench_main("rerun", reference, f"paths.outputs={outputs}")
    assert done.status == 0
    assert done.out.splitlines()[1].startswith("same: ")


@pytest.mark.thorough
def test_a_record_of_other_images(bench_main: Bench, outputs: Path, cell: str) -> None:
    folder, store = outputs / "cells" / cell, Store(outputs)
    correct, recorded = store.items(cell), store.find(cell)
    flipped = correct.top1.copy()
    flipped[[3, 5]] ^= True
    Classification().save(folder, Correctness(flipped, correct.top5))
    altered = bench_main("rerun", cell, f"paths.outputs={outputs}")
    assert altered.status == 2
    assert altered.err.startswith(f"error: {folder}/correct.npz was altered: it is not the one of")
    write_result(folder, recorded.model_copy(update={"correct": int(flipped.sum())}))
    before = content(folder)
    done = bench_main("rerun", cell, f"paths.outputs={outputs}")
    assert done.status == 1
    now = int(np.count_nonzero(correct.top1))
    assert done.out.splitlines()[1].startswith(
        f"different: {now}/10 now; 2 images changed (recorded on "
    )
    assert content(folder) == before


def test_what_cannot_be_repeated(bench_main: Bench, outputs: Path, cell: str) -> None:
    folder = outputs / "cells" / cell
    place = f"paths.outputs={outputs}"
    config = (folder / "config.yaml").read_text()

    (folder / "config.yaml").write_text(config.replace("limit: 10", "limit: 9"))
    changed = bench_main("rerun", cell, place)
    assert changed.status == 2
    assert changed.err.startswith(f"error: cell {cell} is now ")
    (folder / "config.yaml").write_text("a: [")
    assert bench_main("rerun", cell, place).err == (
        f"error: cannot read {folder}/config.yaml: ParserError; measure again\n"
    )
    (folder / "config.yaml").write_text(config)
    (folder / "correct.npz").unlink()
    missing = bench_main("rerun", cell, place)
    assert missing.status == 2
    assert missing.err.startswith(f"error: cannot read {folder}/correct.npz: FileNotFoundError")


def test_a_cell_that_failed(bench_main: Bench, outputs: Path, cell: str) -> None:
    path = outputs / "cells" / cell / "result.json"
    failed = {"status": "failed", "reason": "no memory"}
    write_result(path.parent, Store(outputs).find(cell).model_copy(update=failed))
    done = bench_main("rerun", cell, f"paths.outputs={outputs}")
    assert done == (2, "", f"error: cell {cell} is failed: no memory\n")


@pytest.mark.parametrize("id", ["0000", "*", "../x"])
def test_no_such_cell(bench_main: Bench, outputs: Path, id: str) -> None:
    done = bench_main("rerun", id, f"paths.outputs={outputs}")
    assert done == (
        2,
        "",
        f"error: no cell under {outputs}/cells with an id that starts with {id!r}; "
        "`bench status` lists them\n",
    )
    assert not outputs.exists()
