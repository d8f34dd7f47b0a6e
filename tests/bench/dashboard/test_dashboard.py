"""`bench dashboard` as its users type it."""

import json
import re
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.dashboard.page as module
from bench.store import Store
from tests.bench.conftest import FAST, Finished
from tests.bench.dashboard.made import made, write

Bench = Callable[..., Finished]
RIGHT = np.array([True, False])


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "vega_script", lambda: "")


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert found is not None
    return json.loads(found.group(1))


def test_a_measured_cell_is_on_the_page(bench_main: Bench, outputs: Path, workplace: Path) -> None:
    place = f"paths.outputs={outputs}"
    assert bench_main("run", *FAST, place).status == 0
    done = bench_main("dashboard", place)
    page = outputs / "dashboard.html"
    assert done.status == 0
    assert re.fullmatch(rf"wrote {page}: 2 cells, [\d.]+ MiB\n", done.out)
    said = data_of(page)
    cells = {cell["method"]: cell for cell in said["cells"]}
    assert cells.keys() == {"float", "gaussian"}
    again = bench_main(*cells["gaussian"]["command"].split()[1:], place, "tracking=none")
    assert f"resnet20 mnist5k gaussian W8A8 seed 0: {cells['gaussian']['top1']:.2f} %" in again.out
    (images,) = said["images"].values()
    assert len(images["files"]) == len(images["labels"]) == 100
    assert said["calibrations"][cells["gaussian"]["calibration_key"]]["picture"]
    assert said["about"]["outputs"] == str(outputs)
    assert list(workplace.iterdir()) == []


def test_an_experiment_has_its_cells_and_what_is_missing(
    bench_main: Bench, outputs: Path, tmp_path: Path
) -> None:
    place = f"paths.outputs={outputs}"
    cell = ("method=gaussian", "quant.w_bits=4", "seed=0", "tracking=none", place)
    assert bench_main("run", "experiment=demo", *cell).status == 0
    write(Store(outputs), made("a" * 16, RIGHT), RIGHT)  # of no experiment
    page = tmp_path / "sub" / "demo.html"
    done = bench_main("dashboard", "--experiment", "demo", "--out", page, place, "seed=0")
    assert done.status == 0
    said = data_of(page)
    assert {cell["method"] for cell in said["cells"]} == {"float", "gaussian"}
    assert said["about"]["title"] == "demo"
    assert len(said["about"]["missing"]) == 8
    assert all(line.startswith("bench run experiment=demo ") for line in said["about"]["missing"])


def test_an_unknown_experiment_is_one_line(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("dashboard", "--experiment", "dmo", f"paths.outputs={outputs}")
    assert done == (2, "", "error: unknown experiment 'dmo'; did you mean 'demo'?\n")
    assert not outputs.exists()


def test_damaged_records_are_named_on_the_page(bench_main: Bench, outputs: Path) -> None:
    write(Store(outputs), made("a" * 16, RIGHT), RIGHT)
    (outputs / "cells" / ("0" * 16)).mkdir()
    (outputs / "cells" / ("0" * 16) / "result.json").write_text("{")
    assert bench_main("dashboard", f"paths.outputs={outputs}").status == 0
    said = data_of(outputs / "dashboard.html")
    assert len(said["cells"]) == 1
    assert "0000000000000000" in said["warnings"][0]


def test_open_shows_the_file(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not shown.append(address))
    bench_main("dashboard", f"paths.outputs={outputs}")
    assert shown == []
    bench_main("dashboard", "--open", f"paths.outputs={outputs}")
    assert shown == [(outputs / "dashboard.html").as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    done = bench_main("dashboard", "--open", f"paths.outputs={outputs}")
    assert (done.status, done.out.splitlines()[-1]) == (0, "there is no browser to show it in")


def test_a_file_that_cannot_be_written_is_one_line(
    bench_main: Bench, outputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = bench_main("dashboard", "--out", tmp_path / "file" / "x", f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err.startswith(f"error: cannot write {tmp_path}/file/x: ")
