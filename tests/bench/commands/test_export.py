import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import models.export.packages
from bench.cells.store import Store
from models.checksum import sha256_of
from tests.bench.conftest import FAST, Finished

Main = Callable[..., Finished]


@pytest.fixture
def cell(bench_main: Main, workplace: Path) -> str:
    """The id of a W8A8 cell of the recipe `integer` on a few digits."""
    words = ("model=resnet20", "data=mnist5k", "recipe=integer", "quant=w8a8", *FAST)
    assert bench_main("run", *words).status == 0
    (found,) = (r for r in Store(workplace / "outputs").results() if r.method == "gaussian")
    return found.id


def test_a_cell_is_exported_verified_and_shown(
    bench_main: Main, cell: str, workplace: Path
) -> None:
    done = bench_main("export", cell[:6], "--out", "net.onnx", "--verify")
    assert (done.status, done.err) == (0, "")
    assert "22 of 22 layers have integer weights and inputs" in done.out
    model = onnx.load(workplace / "net.onnx")
    assert {each.version for each in model.opset_import} == {21}
    card = json.loads((workplace / "net.json").read_bytes())
    assert card["sha256"] == sha256_of(workplace / "net.onnx")
    assert card["cell"] == cell
    assert card["recipe"]["quantizer"]["sites"] == "integer"
    kept = json.loads((workplace / "outputs" / "cells" / cell / "integer.json").read_bytes())
    assert kept["model_sha256"] == card["sha256"]
    assert kept["integer_layers"] == 22
    assert kept["correct_integer"] <= kept["total"] == Store(workplace / "outputs").find(cell).total
    assert kept["agreement"] >= 90  # of 10 images, one may differ
    assert kept["speedup"] == pytest.approx(kept["float_ms"] / kept["integer_ms"])
    again = bench_main("export", cell, "--out", "net.onnx")
    assert again.status == 2
    assert again.err.startswith("error: --out net.onnx: net.onnx is there already; remove it")
    shown = bench_main("table", "adhoc", "--show", "top1,top1_integer,agreement,speedup")
    assert "agree" in shown.out
    assert f"{kept['agreement']:.2f}" in shown.out


def test_of_few_images_no_time_is_taken(bench_main: Main, cell: str, workplace: Path) -> None:
    done = bench_main("verify", cell, "--images", "3")
    assert (done.status, done.err) == (0, "")
    assert "too few images to take the time of 8 at once" in done.out
    kept = json.loads((workplace / "outputs" / "cells" / cell / "integer.json").read_bytes())
    assert (kept["total"], kept["speedup"], kept["integer_ms"]) == (3, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "nope"), "no cell under outputs/cells with an id that starts with 'nope'"),
        (("verify", "x", "--images", "0"), "--images 0: give 1 or more"),
        (("export", "x", "--out", "net.pb"), "--out net.pb: give a file that ends in .onnx"),
        (("export", "x", "--out", "no/net.onnx"), "--out no/net.onnx: there is no folder no"),
    ],
)
def test_bad_input_is_one_line(bench_main: Main, words: tuple[str, ...], said: str) -> None:
    done = bench_main(*words)
    assert done.status == 2
    assert done.err.startswith(f"error: {said}")
    assert done.err.count("\n") == 1


def test_a_float_cell_has_no_integers(bench_main: Main, cell: str, workplace: Path) -> None:
    (floating,) = (r for r in Store(workplace / "outputs").results() if r.method == "float")
    done = bench_main("verify", floating.id)
    assert (done.status, done.out) == (2, "")
    assert done.err == "error: the cell is of a float network, which has no integers\n"


def test_without_the_packages_it_says_what_to_install(
    bench_main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.export.packages, "find_spec", lambda name: None)
    done = bench_main("verify", "x")
    assert done.status == 2
    assert done.err == (
        "error: onnx and onnxruntime not installed; pip install 'quantization-bench[export]'\n"
    )


@pytest.mark.thorough
@pytest.mark.usefixtures("undrawn")
def test_a_trained_cell_is_exported_as_long_as_its_training_is_kept(
    bench_main: Main, workplace: Path
) -> None:
    words = ("model=resnet20", "data=mnist5k", "method=coquant", "method.bits=[8,4]", "quant=w4a4")
    small = ("data.subset=20", "data.limit=10", "method.images=4", "tracking=none")
    training = ("method.schedule.epochs=1", "method.schedule.batch_size=10")
    assert bench_main("run", *words, *small, *training).status == 0
    store = Store(workplace / "outputs")
    (found,) = (r for r in store.results() if r.method == "coquant")
    done = bench_main("verify", found.id)
    assert (done.status, done.err) == (0, "")
    assert "21 of 22 layers have integer weights and inputs" in done.out  # not the image
    kept = json.loads((workplace / "outputs" / "cells" / found.id / "integer.json").read_bytes())
    assert kept["top1_fake"] == found.top1
    assert kept["agreement"] >= 80
    measured = bench_main("run", *words, *small, *training, "evaluate.engine=onnxruntime")
    assert measured.status == 0
    (real,) = (r for r in store.results() if r.recipe.evaluation.engine == "onnxruntime")
    assert real.recipe.method == found.recipe.method
    assert abs(real.correct - kept["correct_integer"]) <= 1  # whose sums are those of the processor
    (training_folder,) = (workplace / "outputs" / "cache" / "training").iterdir()
    (training_folder / "trained.safetensors").unlink()
    gone = bench_main("verify", found.id)
    assert (gone.status, gone.err.count("\n")) == (2, 1)
    assert gone.err.startswith("error: the training behind the cell is no longer kept in outputs/")
    assert "force=true" in gone.err
    assert not (training_folder / "trained.safetensors").exists()  # nothing was trained again
