"""Run, status and table give one answer: it is the content of the images that decides."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cells.lookup import find_results
from bench.cells.request import Request, experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.experiments import experiment_jobs
from bench.data import datasets
from tests.bench.cells_of import plan, run_cell
from tests.bench.conftest import Finished

Make = Callable[..., Result]
Bench = Callable[..., Finished]

CELL = ("quant.w_bits=8", "seed=0", "data=folder", "gate=warn", "tracking=none")


class Sweep:
    """One cell of the demo, calibrated on real images of a folder of photos."""

    def __init__(self, root: Path, outputs: Path) -> None:
        self.root, self.outputs = root, outputs

    def words(self, *more: str) -> list[str]:
        place = (f"data.root={self.root}", f"paths.outputs={self.outputs}")
        return ["method=real", "method.images=4", *CELL, *place, *more]

    def run(self, *more: str) -> tuple[str, Result]:
        """Return what became of the cell, and its result."""
        (job,) = experiment_jobs("demo", self.words("runtime.device=cpu", *more))
        outcome = run_cell(job.config)
        assert outcome.result is not None and outcome.result.status == "done", outcome
        return outcome.kind, outcome.result

    def run_again(self, *more: str) -> tuple[str, str]:
        kind, result = self.run(*more)
        return kind, result.id

    def found(self, *more: str) -> str | None:
        """Return the id of the result that a table would show."""
        requests = experiment_requests("demo", self.words(*more))
        (result,) = find_results(requests, Store(self.outputs).results())
        return result and result.id

    def move(self, name: str) -> None:
        self.root = self.root.rename(self.root.with_name(name))


def photos(root: Path) -> Path:
    """Three images a class, all of one size: as bitmaps they are equally long."""
    generator = np.random.default_rng(0)
    for side in ("train", "test"):
        for label in range(10):
            folder = root / side / str(label)
            folder.mkdir(parents=True)
            for index in range(3):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.bmp")
    return root


@pytest.fixture
def sweep(tmp_path: Path, outputs: Path) -> Sweep:
    return Sweep(photos(tmp_path / "here"), outputs)


def exchange(root: Path, side: str) -> None:
    """Exchange the images of two classes: names and sizes stay."""
    for index in range(3):
        one, other = (root / side / label / f"{index}.bmp" for label in ("3", "8"))
        aside = root / "aside"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)


def test_a_folder_may_be_moved_copied_and_asked_for_by_number(
    sweep: Sweep, bench_main: Bench
) -> None:
    _, result = sweep.run()
    sweep.move("there")
    assert sweep.found() == result.id, "before any run has looked at it"
    shown = bench_main("status", "--experiment", "demo", *sweep.words())
    assert shown.out.startswith("demo: 1 cells: 1 done"), shown
    shown = bench_main("table", "demo", *sweep.words())
    assert "not run" not in shown.out and f"{result.top1:.2f}" in shown.out, shown
    for words in (["data.limit=30"], ["data.subset=30"], ["data.limit=30", "data.subset=30"]):
        assert sweep.found(*words) == result.id
        assert sweep.run_again(*words) == ("found", result.id)
    assert sweep.found("data.label=pictures") == result.id
    for words in (["data.limit=29"], ["data.subset=29"], ["method.images=5"]):
        assert sweep.found(*words) is None

    sweep.root = Path(shutil.copytree(sweep.root, sweep.root.with_name("copied")))
    assert sweep.found() == result.id
    assert sweep.run_again() == ("found", result.id)


def test_what_was_asked_for_by_number_is_all_there_is(sweep: Sweep) -> None:
    _, result = sweep.run("data.limit=30", "data.subset=30")
    assert sweep.found() == result.id
    assert sweep.run_again() == ("found", result.id)


@pytest.mark.parametrize("side", ["test", "train"])
def test_other_content_under_the_same_names_is_another_cell(sweep: Sweep, side: str) -> None:
    _, before = sweep.run()
    exchange(sweep.root, side)
    assert sweep.found() is None, "before any run has looked at it"
    kind, after = sweep.run()
    assert (kind, sweep.found()) == ("measured", after.id)
    assert (after.fp32_id == before.fp32_id) == (side == "train")
    assert Store(sweep.outputs).finished(str(after.fp32_id)) is not None
    if side == "train":
        assert after.recipe.calibration.fingerprint != before.recipe.calibration.fingerprint
    exchange(sweep.root, side)
    assert sweep.found() == before.id, "though the other is newer"
    assert sweep.run_again() == ("found", before.id)


def test_two_folders_of_one_name_are_not_mixed_up(sweep: Sweep, tmp_path: Path) -> None:
    _, first = sweep.run()
    other = Sweep(photos(tmp_path / "elsewhere" / "here"), sweep.outputs)
    exchange(other.root, "test")
    assert other.found() is None
    _, second = other.run()
    assert (sweep.found(), other.found()) == (first.id, second.id)


def test_machines_of_one_sweep_meet_whatever_their_folders_are_called(
    sweep: Sweep, tmp_path: Path, bench_main: Bench
) -> None:
    other = Sweep(Path(shutil.copytree(sweep.root, tmp_path / "scratch")), tmp_path / "theirs")
    _, first = sweep.run("quant.w_bits=8")
    _, second = other.run("quant.w_bits=4")
    bench_main("merge", other.outputs, f"paths.outputs={sweep.outputs}")

    def both(root: Path) -> list[str]:
        words = Sweep(root, sweep.outputs).words("quant.w_bits=8,4")
        requests = experiment_requests("demo", words)
        found = find_results(requests, Store(sweep.outputs).results())
        return [result.id if result else "" for result in found]

    assert both(sweep.root) == both(other.root) == [first.id, second.id]
    # On a third machine, that has none of the images.
    shutil.rmtree(sweep.outputs / "cache")
    shutil.rmtree(sweep.root)
    assert both(sweep.root) == [first.id, second.id]
    assert both(tmp_path / "nowhere") == ["", ""]


@pytest.mark.thorough
def test_results_from_when_images_went_by_names_and_sizes_are_found(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, bench_main: Bench
) -> None:
    monkeypatch.setattr(datasets, "with_contents", lambda whole, listing, *_: listing)
    _, old = sweep.run()
    monkeypatch.undo()
    sweep.move("there")
    assert sweep.found() == old.id
    assert sweep.run_again() == ("found", old.id)
    (job,) = experiment_jobs("demo", sweep.words())
    cell = plan(job.config)
    assert cell.ids == (cell.id, old.id)
    # What is measured now has a float number of the same images by content beside it.
    kind, now = sweep.run("force=true")
    assert (kind, now.id) == ("measured", cell.id)
    assert now.fp32_id not in (None, old.fp32_id)
    assert (now.top1, now.fp32_top1) == (old.top1, old.fp32_top1)
    assert sweep.found() == now.id
    # One more cell is measured now: both stand in one table, on the same images.
    sweep.run("quant.w_bits=7")
    shutil.rmtree(sweep.outputs / "cells" / now.id)
    shown = bench_main("table", "demo", *sweep.words("quant.w_bits=8,7"))
    assert "different" not in shown.out and len(re.findall(r"\[\d", shown.out)) >= 2, shown


def test_one_folder_is_the_same_whether_read_as_imagenet_or_not(
    tmp_path: Path, make_result: Make
) -> None:
    for side in ("train", "val"):
        for label in range(2):
            folder = tmp_path / "photos" / side / f"n0144{label}764"
            folder.mkdir(parents=True)
            (folder / "a.jpg").write_bytes(bytes([label]))

    def asked(data: str, *words: str) -> Request:
        model = ["model=resnet18", "method=gaussian", "seed=0", "quant.w_bits=8"]
        place = [f"data.root={tmp_path / 'photos'}", f"paths.outputs={tmp_path / 'outputs'}"]
        (request,) = experiment_requests("demo", [*model, f"data={data}", *place, *words])
        return request

    request = asked("folder")
    listing = datasets.scan(request.effective.data, "eval")
    recipe: dict[str, Any] = {"evaluation": {"fingerprint": listing.fingerprint, "images": 2}}
    result = make_result(request_id=request.id, data="photos", recipe=recipe)
    assert find_results([asked("folder", "data.label=other")], [result]) == [result]
    assert find_results([asked("cifar10_jpeg")], [result]) == [result]


@pytest.mark.parametrize(("asked", "measured"), [("null", "1000"), ("1000", "null")])
def test_all_of_a_packaged_set_by_number(make_result: Make, asked: str, measured: str) -> None:
    words = ["method=gaussian", "seed=0", "quant.w_bits=8"]
    (one,) = experiment_requests("demo", [*words, f"data.limit={asked}"])
    (other,) = experiment_requests("demo", [*words, f"data.limit={measured}"])
    (part,) = experiment_requests("demo", [*words, "data.limit=999"])
    result = make_result(request_id=other.id)
    assert find_results([one, other, part], [result]) == [result, result, None]


def test_of_several_results_for_one_request_the_newest_counts(make_result: Make) -> None:
    (request,) = experiment_requests("demo", ["method=gaussian", "seed=0", "quant.w_bits=8"])
    begun = {"a": "2026-02-01", "b": "2026-03-01", "c": "2026-01-01", "d": "2026-03-01"}
    copies = [
        make_result(id=id * 16, request_id=request.id, started_at=f"{day}T00:00:00+00:00")
        for id, day in begun.items()
    ]
    other = make_result(id="0" * 16, request_id="other")
    for order in ([*copies, other], [other, *reversed(copies)]):
        (found,) = find_results([request], order)
        assert found is not None and found.id == "d" * 16
    assert find_results([request], []) == [None]
