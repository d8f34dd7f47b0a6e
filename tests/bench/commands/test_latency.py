from collections.abc import Callable
from pathlib import Path

import pytest

import models.export.packages
from models.quantize.latency import read_latency_table
from tests.bench.conftest import Finished

Main = Callable[..., Finished]
SOON = ("latency", "model=lenet5", "--seconds", "0.001", "--images", "1")


def test_a_table_that_a_budget_can_be_said_in(bench_main: Main, workplace: Path) -> None:
    done = bench_main(*SOON, "--out", "table.csv")
    assert (done.status, done.err) == (0, "")
    table = read_latency_table(workplace / "table.csv")
    assert list(table.by_name) == ["features.0", "features.3", "classifier.1", "classifier.3"]
    assert table.ms("features.3", 3, 8) == table.ms("features.3", 8, 8) > 0
    in_float = sum(table.ms(layer, 32, 32) for layer in table.by_name)
    lines = done.out.splitlines()
    assert lines[0].startswith("lenet5: 4 layers, 1 at once, one thread; ")
    assert float(lines[0].split()[-4]) == pytest.approx(in_float, rel=1e-3)
    again = bench_main(*SOON, "--out", "table.csv")
    assert again.status == 2
    assert again.err == "error: --out table.csv is there already; remove it, or name another\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("quant=w4a4",), "bench latency takes no 'quant=w4a4'; give model=NAME only"),
        (("--images", "0"), "--images 0: give 1 to 1024"),
        (("--seconds", "nan"), "--seconds nan: give a positive number"),
        (("--out", "table.npy"), "--out table.npy: give a file that ends in .csv"),
        (("--out", "no/table.csv"), "--out no/table.csv: there is no folder no; make it first"),
        (("model=resnet21",), "unknown model 'resnet21'; did you mean 'resnet20'?"),
    ],
)
def test_bad_input_is_one_line(
    bench_main: Main, workplace: Path, words: tuple[str, ...], said: str
) -> None:
    done = bench_main("latency", "--out", "table.csv", *words)
    assert done.status == 2
    assert done.err.startswith(f"error: {said}")
    assert done.err.count("\n") == 1


def test_the_extra_is_asked_for(
    bench_main: Main, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.export.packages, "find_spec", lambda name: None)
    done = bench_main(*SOON, "--out", "table.csv")
    assert done.status == 2
    assert done.err.endswith("not installed; pip install 'quantization-bench[export]'\n")
