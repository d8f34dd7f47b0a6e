"""A result that was altered by hand is reported, counted nowhere, and measured again."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.cells.store import Store
from bench.tasks.classification import Classification, Correctness
from tests.bench.conftest import FAST, Finished, records

pytestmark = pytest.mark.faults

CELL = ("data.limit=100", *FAST[1:])  # of so many images some are wrong
Bench = Callable[..., Finished]


class _Warnings(logging.Handler):
    """Keeps the warnings of the harness until they are asked for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __call__(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def warnings() -> Iterator[Callable[[], list[str]]]:
    """The warnings since they were last asked for."""
    handler = _Warnings()
    logging.getLogger("bench").addHandler(handler)
    yield handler
    logging.getLogger("bench").removeHandler(handler)


def measured(bench_main: Bench, outputs: Path) -> str:
    """Measure a cell, and return its id."""
    done = bench_main("run", *CELL, f"paths.outputs={outputs}")
    assert done.status == 0, done
    (id,) = (id for id, record in records(outputs).items() if record["method"] == "gaussian")
    return id


def test_a_better_top1(
    bench_main: Bench, outputs: Path, warnings: Callable[[], list[str]], tmp_path: Path
) -> None:
    id, place = measured(bench_main, outputs), f"paths.outputs={outputs}"
    path = outputs / "cells" / id / "result.json"
    honest = path.read_text()
    forged = honest.replace(f'"top1": {json.loads(honest)["top1"]}', '"top1": 99.9', 1)
    assert forged != honest
    path.write_text(forged)
    said = (
        f"{path} was altered: its checksum does not fit; the next run of the cell measures it "
        "again and puts this folder aside"
    )
    warnings()
    for command in (
        ("table", "demo", "data.limit=100"),
        ("status",),
        ("dashboard", "--out", str(tmp_path / "page.html")),
        ("compare", "demo", "data.limit=100"),
        ("ledger",),
    ):
        done = bench_main(*command, place)
        assert done.status in (0, 2), done  # there is nothing left to compare
        assert "99.9" not in done.out, command
        assert warnings() == [f"warning: not counted: {said}"], command
    page = (tmp_path / "page.html").read_text()
    assert "99.9" not in page and page.count(id) == page.count(f"{id}/result.json") > 0
    for command in (("rerun", id), ("compare", id, id), ("recipe", id)):
        assert bench_main(*command, place) == (2, "", f"error: {said}\n")

    done = bench_main("run", *CELL, place)
    assert done.status == 0
    aside = outputs / "altered" / id
    short = said.partition(";")[0]
    assert warnings() == [
        f"warning: {path} was altered: its checksum does not fit; measured again, the altered one "
        f"is in {aside}"
    ]
    assert short in said
    assert (aside / "result.json").read_text() == forged
    again = records(outputs)[id]
    assert again["top1"] == json.loads(honest)["top1"]
    assert bench_main("status", place).status == 0
    assert warnings() == []
    assert "known" in bench_main("run", *CELL, place).out


def test_a_better_bitmap(
    bench_main: Bench, outputs: Path, warnings: Callable[[], list[str]], tmp_path: Path
) -> None:
    id, place = measured(bench_main, outputs), f"paths.outputs={outputs}"
    store = Store(outputs)
    honest = store.items(id)
    assert honest.top1.any()
    # As many are right, so that only the checksum tells.
    Classification().save(store.folder(id), Correctness(np.roll(honest.top1, 1), honest.top5))
    path = store.folder(id) / "correct.npz"
    said = f"{path} was altered: it is not the one of its record"
    done = bench_main("compare", id, id, place)
    assert done.status == 2
    assert done.err.startswith(f"error: {said}; ")
    warnings()
    assert bench_main("dashboard", "--out", str(tmp_path / "page.html"), place).status == 0
    on_page = f"cells/{id}/correct.npz was altered: it is not the one of its record"
    assert on_page in (tmp_path / "page.html").read_text()

    warnings()
    assert bench_main("run", *CELL, place).status == 0
    assert warnings() == [
        f"warning: {said}; measured again, the altered one is in {outputs / 'altered' / id}"
    ]
    np.testing.assert_array_equal(store.items(id).top1, honest.top1)


def test_altered_twice(bench_main: Bench, outputs: Path) -> None:
    id = measured(bench_main, outputs)
    path = outputs / "cells" / id / "result.json"
    for _ in range(2):
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 7', 1))
        assert measured(bench_main, outputs) == id
    aside = sorted(folder.name for folder in (outputs / "altered").iterdir())
    assert aside == [id, f"{id}.2"]


@pytest.mark.parametrize("what", ["record", "bitmap"])
def test_a_failure_does_not_keep_an_altered_result(
    bench_main: Bench, outputs: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = measured(bench_main, outputs)
    folder = outputs / "cells" / id
    file = folder / ("result.json" if what == "record" else "correct.npz")
    file.write_bytes(file.read_bytes()[:-9])

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("bench.measure.run.measure", broken)
    assert bench_main("run", *CELL, f"paths.outputs={outputs}").status == 1
    record = records(outputs)[id]
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: no memory")
    assert (outputs / "altered" / id / file.name).exists()


def test_an_altered_float_cell_stops_no_sweep(bench_main: Bench, outputs: Path) -> None:
    """Its own run is none of the number it stands beside."""
    id = measured(bench_main, outputs)
    reference = records(outputs)[id]["fp32_id"]
    path = outputs / "cells" / reference / "result.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7', 1))
    line = ("run", "-m", *CELL[:-1], "tracking=wandb_offline", f"paths.outputs={outputs}")
    done = bench_main(*line, "quant.w_bits=8,4")
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == "2 cells: 1 done, 1 found"
    assert records(outputs)[reference]["seed"] == 0
    assert (outputs / "altered" / reference).is_dir()
