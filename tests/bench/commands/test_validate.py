import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.files import options
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]

EXPERIMENT = """# @package _global_
group: mine
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      {params}
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], Path]:
    def write(params: str) -> Path:
        folder = tmp_path / "own"
        (folder / "experiment").mkdir(parents=True)
        (folder / "experiment" / "mine.yaml").write_text(EXPERIMENT.format(params=params))
        return folder

    return write


def test_every_shipped_experiment_is_valid(bench_main: Bench) -> None:
    done = bench_main("validate")
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"(\w+: [1-9]\d* cells\n)+", done.out)
    assert "demo: 27 cells\n" in done.out
    assert done.out.count("\n") == len(options("experiment"))


def test_only_those_asked_for(bench_main: Bench) -> None:
    assert bench_main("validate", "demo", "seed=0") == (0, "demo: 9 cells\n", "")


def test_an_experiment_of_ones_own(bench_main: Bench, own: Callable[[str], Path]) -> None:
    done = bench_main("validate", "--config-dir", own("quant.w_bits: 8,4"), "mine")
    assert done == (0, "mine: 2 cells\n", "")


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (
            "quant.w_bits: 8,17",
            "experiment=mine quant.w_bits=17: "
            "quant.w_bits=17 is impossible; give 2..16, or 32 for float",
        ),
        (
            "method.images: 4,0",
            "experiment=mine method.images=0: method 'zeroq': images=0; give at least 1",
        ),
        (
            "data.limit: 10,0",
            "experiment=mine data.limit=0: data.limit=0 is not a number of images; set it to 1 or "
            "more, or leave it null for all",
        ),
        (
            "model.weights: default,mnist",
            "experiment=mine model.weights=mnist: "
            "resnet20 has no weights 'mnist'; did you mean 'mnist5k'?",
        ),
        ("method: gaussian,reel", "unknown method 'reel'; did you mean 'real'?"),
        ("seed: interval(0,3)", "seed=interval(0,3): give a list of values, not an interval"),
    ],
)
def test_an_impossible_value_is_named_with_its_cell(
    bench_main: Bench, own: Callable[[str], Path], params: str, line: str
) -> None:
    done = bench_main("validate", "--config-dir", own(params), "mine")
    assert done == (1, f"mine: error: {line}\n", "")


def test_an_unknown_experiment(bench_main: Bench) -> None:
    done = bench_main("validate", "dmo", "demo", "seed=0")
    assert done == (
        1,
        "dmo: error: unknown experiment 'dmo'; did you mean 'demo'?\ndemo: 9 cells\n",
        "",
    )
