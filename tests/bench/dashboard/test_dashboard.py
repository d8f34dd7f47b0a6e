"""`bench dashboard` as its users type it."""

import json
import re
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import bench.dashboard.page as module
from bench.cells.request import experiment_requests
from bench.cells.store import Store
from tests.bench.conftest import FAST, Finished
from tests.bench.dashboard.examples import example, write

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
    assert len(images["files"]) == len(images["labels"]) == 10
    assert said["calibrations"][cells["gaussian"]["calibration_key"]]["picture"]
    assert said["about"]["outputs"] == "paths.outputs=FOLDER/outputs"
    assert str(outputs.parent) not in page.read_text(encoding="utf-8")
    assert list(workplace.iterdir()) == []


def test_an_experiment_has_its_cells_and_what_is_missing(
    bench_main: Bench, outputs: Path, tmp_path: Path
) -> None:
    place = f"paths.outputs={outputs}"
    few = ("seed=0", "data.limit=10", "method.images=4", place)
    cell = ("method=gaussian", "quant.w_bits=4", "tracking=none")
    assert bench_main("run", "experiment=demo", *cell, *few).status == 0
    write(Store(outputs), example("a" * 16, RIGHT), RIGHT)  # of no experiment
    page = tmp_path / "sub" / "demo.html"
    done = bench_main("dashboard", "--experiment", "demo", "--out", page, *few)
    assert done.status == 0
    said = data_of(page)
    assert {cell["method"] for cell in said["cells"]} == {"float", "gaussian"}
    assert said["about"]["title"] == "demo"
    assert len(said["about"]["missing"]) == 8
    assert all(line.startswith("bench run experiment=demo ") for line in said["about"]["missing"])
    assert all("paths.outputs=FOLDER/outputs" in line for line in said["about"]["missing"])
    assert str(tmp_path) not in page.read_text(encoding="utf-8")


def test_what_is_missing_can_be_typed(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    experiment = tmp_path / "own conf" / "experiment" / "mine.yaml"
    experiment.parent.mkdir(parents=True)
    sweep = {"params": {"quant.w_bits": "4", "method": "real"}}
    head = "# @package _global_\n"
    experiment.write_text(head + yaml.safe_dump({"hydra": {"sweeper": sweep}}))
    place = f"paths.outputs={outputs}"
    given = ("--config-dir", tmp_path / "own conf", "group=it is")
    assert bench_main("dashboard", "--experiment", "mine", *given, place).status == 0
    assert data_of(outputs / "dashboard.html")["about"]["missing"] == [
        "bench run --config-dir 'FOLDER/own conf' experiment=mine method=real quant.w_bits=4 "
        "'group=it\\ is' paths.outputs=FOLDER/outputs"
    ]


@pytest.mark.parametrize(
    ("place", "said"),
    [("outputs", ""), ("other", "paths.outputs=other"), ("a b", "'paths.outputs=a b'")],
)
def test_a_relative_folder_is_said_as_it_is_typed(
    bench_main: Bench, workplace: Path, place: str, said: str
) -> None:
    assert bench_main("dashboard", f"paths.outputs={place}").status == 0
    assert data_of(workplace / place / "dashboard.html")["about"]["outputs"] == said


def test_of_copies_the_newest_is_the_experiments(bench_main: Bench, outputs: Path) -> None:
    store, place = Store(outputs), f"paths.outputs={outputs}"
    words = ("method=gaussian", "quant.w_bits=4", "seed=0")
    (job,) = experiment_requests("demo", words)
    for id, moment in (("a", "2026-02"), ("b", "2026-03"), ("c", "2026-01")):
        asked = {"request_id": job.id, "started_at": f"{moment}-01T00:00:00+00:00"}
        write(store, example(id * 16, RIGHT, **asked), RIGHT)
    assert bench_main("dashboard", "--experiment", "demo", *words, place).status == 0
    said = data_of(outputs / "dashboard.html")
    assert [cell["id"] for cell in said["cells"]] == ["b" * 16]
    assert said["about"]["missing"] == []


def test_an_unknown_experiment_is_one_line(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("dashboard", "--experiment", "dmo", f"paths.outputs={outputs}")
    assert done == (2, "", "error: unknown experiment 'dmo'; did you mean 'demo'?\n")
    assert not outputs.exists()


def test_damaged_records_are_named_on_the_page(bench_main: Bench, outputs: Path) -> None:
    write(Store(outputs), example("a" * 16, RIGHT), RIGHT)
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
