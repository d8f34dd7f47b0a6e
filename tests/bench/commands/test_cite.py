"""`bench cite`: a paper, an experiment, neither."""

from collections.abc import Callable
from pathlib import Path

from bench.papers.citations import split_entries
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]


def test_a_paper(bench_main: Bench) -> None:
    done = bench_main("cite", "squant")
    assert (done.status, done.err) == (0, "")
    assert list(split_entries(done.out)) == ["guo2022squant"]
    assert done.out.startswith("@inproceedings{guo2022squant,\n")


def test_an_experiment(bench_main: Bench) -> None:
    done = bench_main("cite", "demo")
    assert (done.status, done.err) == (0, "")
    keys = ["cai2020zeroq", "he2016deep", "lecun1998gradient", "raschka2018mlxtend"]
    assert list(split_entries(done.out)) == keys
    assert done.out.endswith("\n% nothing to cite is known for: method gaussian, method real\n")


def test_overrides_change_what_is_cited(bench_main: Bench) -> None:
    done = bench_main("cite", "demo", "method=dsg", "quant.rounding=adaround")
    keys = list(split_entries(done.out))
    assert keys[0] == "zhang2021diversifying"
    assert "nagel2020up" in keys and "cai2020zeroq" not in keys


def test_an_experiment_of_ones_own(bench_main: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "squant.yaml").write_text(
        "# @package _global_\ngroup: squant\nhydra:\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    done = bench_main("cite", "squant", "--config-dir", tmp_path / "mine")
    assert "cai2020zeroq" in split_entries(done.out)  # an experiment comes before a paper


def test_neither(bench_main: Bench) -> None:
    done = bench_main("cite", "sqant")
    assert (done.status, done.out) == (2, "")
    assert (
        done.err == "error: 'sqant' is neither an experiment nor a paper; did you mean 'squant'?\n"
    )


def test_experiments_cite_what_their_cells_used(bench_main: Bench) -> None:
    floats = bench_main("cite", "float_weights").out
    assert next(iter(split_entries(floats))) == "he2016deep"
    assert "zeroq" not in floats.lower() and "nothing to cite" not in floats
    surrogates = list(split_entries(bench_main("cite", "surrogates_resnet20").out))
    assert surrogates[-5:-2] == ["esser2020learned", "choi2018pact", "kim2020position"]
    assert surrogates[-2:] == ["schaefer2024edge", "lee2021network"]
