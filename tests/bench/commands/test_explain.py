"""`bench explain`: a number made by a recipe that it is not told, and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import bench.commands.explain
from bench.cells.request import Request, request_of
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.config.experiments import typed_jobs
from bench.config.schema import read_config
from bench.data.datasets import scan
from bench.tasks.classification import Classification, Correctness
from tests.bench.conftest import FAST, Finished
from tests.bench.papers.records import record

Bench = Callable[..., Finished]
IMAGES = 400
LOSES = {"sites": 40, "w_granularity": 120, "w_range": -20, "fold": 0, "w_scheme": 8}
"""Images of 400 that a recipe has wrong more than the first one, which has 360 right."""


def right(request: Request) -> int:
    """How many images a made-up network has right: choices add up but for one pair."""
    spec = request.effective.quant
    other = {
        "sites": spec.sites == "all",
        "w_granularity": spec.w_granularity == "tensor",
        "w_range": spec.w_range == "mse",
        "w_scheme": spec.w_scheme == "symmetric",
    }
    lost = sum(LOSES[key] for key, there in other.items() if there)
    return 360 - lost - 16 * (other["sites"] and other["w_range"])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The words of each cell that is run, whose number is made up."""
    lines: list[Sequence[str]] = []

    def run(words: Sequence[str]) -> int:
        lines.append(words)
        ((_, tree),) = typed_jobs(words, multirun=False)
        request = request_of(read_config(tree))
        correct = right(request)
        top1 = np.arange(IMAGES) < correct
        flips = {"lost": 396 - correct, "gained": 0}
        result = record(request, correct, IMAGES, fp32_top1=99.0, correct_top5=IMAGES, **flips)
        if request.config.data["name"] == "mnist5k":
            known = {"fingerprint": scan(request.config.data, "eval").fingerprint}
            images = {"evaluation": result.recipe.evaluation.model_copy(update=known)}
            recipe = result.recipe.model_copy(update=images)
            result = result.model_copy(update={"recipe": recipe})
        with Store(request.config.paths.outputs).writing(result.id) as folder:
            Classification().save(folder, Correctness(top1, np.ones(IMAGES, dtype=bool)))
            write_result(folder, result)
        return 0

    monkeypatch.setattr(bench.commands.explain, "run", run)
    return lines


def test_the_recipe_that_it_is_not_told(
    bench_main: Bench, outputs: Path, typed: list[Sequence[str]], tmp_path: Path
) -> None:
    hidden = 360 - LOSES["sites"] - LOSES["w_granularity"] - LOSES["w_scheme"]
    base = (*FAST, "method=zeroq", "quant=w4a4", f"paths.outputs={outputs}")
    target = ("--target", str(100 * hidden / IMAGES), "--float", "99.0", "--confirm", "3")
    picture = tmp_path / "effects.png"
    done = bench_main("explain", *target, "--plot", str(picture), *base)
    assert done.status == 0, done.err
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert len(typed) == 16 + 3
    assert typed[0] == [*base, "group=explain"]
    lines = done.out.splitlines()
    lines = lines[lines.index("top-1 of 48 %: a drop of 51.00 points to explain") :]
    effects = {line.split("  ")[0]: line for line in lines if "[" in line}
    # 120 and 8 of 400 images; where inputs are quantized too `mse` costs 16 more: 4 points of half.
    assert "-30.00 [" in effects["weight grids"]
    assert "-2.00 [" in effects["weight scheme"]
    assert "-12.00 [" in effects["quantized places"]
    assert "+3.00 [" in effects["weight range"]
    assert "+0.00 [" in effects["BatchNorm folded"]
    at = lines.index("commands:")
    assert any("quant.sites=all quant.w_granularity=tensor" in line for line in lines[at:])
    measured = next(line for line in lines if "have the number in their interval" in line)
    assert measured.endswith("of 19 measured recipes have the number in their interval")
    assert int(measured.split()[0]) >= 1


def test_a_row_of_a_table(
    bench_main: Bench, outputs: Path, typed: list[Sequence[str]], tmp_path: Path
) -> None:
    given = (f"paths.outputs={outputs}", f"data.root={tmp_path}", "tracking=none")
    line = ("explain", "dsg_resnet18", "ZeroQ", "--bits", "W4A4", "--confirm", "0")
    line = (*line, "--known", "fold")
    done = bench_main(*line, *given)
    assert done.status == 0, done.err
    assert "ZeroQ W4A4 of dsg_resnet18: a drop of 45.43 points to explain\n" in done.out
    assert "experiment=dsg_resnet18" in typed[0]
    assert "  calibration images: " in done.out
    assert "BatchNorm" not in done.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("dsg_resnet18",), "name a table and a row"),
        (("dsg_resnet18", "ZeroC", "--bits", "W4A4"), "has no row 'ZeroC'; did you mean 'ZeroQ'?"),
        (("dsg_resnet18", "ZeroQ"), "numbers; give one of --bits W"),
        (("no_table", "ZeroQ"), "unknown table 'no_table'"),
        (("--target", "60", "--float", "70", "quant=fp32"), "leaves nothing open"),
        (("--target", "60", "dsg_resnet18"), "or --target and overrides"),
        (
            ("--target", "60", "--known", "site"),
            "--known site: there is no such choice; did you mean",
        ),
        (("--target", "600"), "--target 600: top-1 is in percent, 0..100"),
    ],
)
def test_what_cannot_be_explained(
    bench_main: Bench, outputs: Path, typed: list[Sequence[str]], line: Sequence[str], words: str
) -> None:
    done = bench_main("explain", *line, f"paths.outputs={outputs}")
    assert done.status == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert typed == []


def test_a_cell_that_fails_ends_it(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.commands.explain, "run", lambda words: 1)
    done = bench_main("explain", "--target", "60", *FAST, "quant=w4a4", f"paths.outputs={outputs}")
    assert done.status == 1
    assert "has no number" in done.out
