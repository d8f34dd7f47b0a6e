from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from tests.bench.conftest import FAST, Finished, records

Bench = Callable[..., Finished]


def test_nothing_is_measured(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("status", f"paths.outputs={outputs}")
    assert done == (
        0,
        "no cell is measured yet; `bench run -m experiment=demo` measures some\n",
        "",
    )
    assert not outputs.exists()


def test_groups_and_their_cells(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"paths.outputs={outputs}"
    bench_main("run", *FAST, "group=a", place)
    with monkeypatch.context() as patch:
        patch.setattr("methods.base.quantize", lambda *_: 1 / 0)
        bench_main("run", *FAST, "group=b", "seed=1", place)
    by = {(r["group"], r["method"]): r for r in records(outputs).values()}
    float_cell, good, bad = by["a", "float"], by["a", "gaussian"], by["b", "gaussian"]
    done = bench_main("status", place)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "a: 2 done"
    assert sorted(lines[1:3]) == sorted(
        [
            f"  {float_cell['id']}  resnet20 mnist5k float W32A32 seed 0  "
            f"{float_cell['top1']:.2f} %",
            f"  {good['id']}  resnet20 mnist5k gaussian W8A8 seed 0  {good['top1']:.2f} %",
        ]
    )
    assert lines[3:] == [
        "b: 1 failed",
        f"  {bad['id']}  resnet20 mnist5k gaussian W8A8 seed 1  "
        "failed: ZeroDivisionError: division by zero",
    ]


@pytest.mark.thorough
def test_an_experiment(bench_main: Bench, outputs: Path) -> None:
    few = ("data.limit=10", "method.images=4")
    narrowed = (*few, "seed=0", "quant.w_bits=8", f"paths.outputs={outputs}")
    bench_main("run", "experiment=demo", "tracking=none", "method=real", *narrowed)
    done = bench_main("status", "--experiment", "demo", *narrowed)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "demo: 3 cells: 1 done, 2 missing"
    assert [line.split()[0] for line in lines[1:]] == ["missing", "missing"]
    # What is printed for a missing cell can be typed.
    words = lines[1].split()[1:]
    assert words[:2] == ["bench", "run"]
    assert "method=gaussian" in words
    again = bench_main("run", *words[2:], "tracking=none")
    assert again.status == 0
    after = bench_main("status", "--experiment", "demo", *narrowed).out.splitlines()
    assert after[0] == "demo: 3 cells: 2 done, 1 missing"


def test_damaged_records_are_named_and_left_out(bench_main: Bench, outputs: Path) -> None:
    folder = outputs / "cells" / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{")
    note = "1 entry is not counted: no whole result of this version, see the warnings"
    for arguments in (["status"], ["status", "--experiment", "demo"]):
        done = bench_main(*arguments, f"paths.outputs={outputs}")
        assert done.status == 0
        assert done.out.splitlines()[-1] == note


def test_an_unknown_experiment(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("status", "--experiment", "dmo", f"paths.outputs={outputs}")
    assert done == (2, "", "error: unknown experiment 'dmo'; did you mean 'demo'?\n")


def test_of_copies_the_newest_counts(
    bench_main: Bench, outputs: Path, make_result: Callable[..., Result]
) -> None:
    words = ("method=gaussian", "quant.w_bits=4", "seed=0")
    (job,) = experiment_requests("demo", words)
    begun = {"a": ("2026-02", "failed"), "b": ("2026-03", "done"), "c": ("2026-01", "failed")}
    for id, (month, status) in begun.items():
        said = {"status": status, "started_at": f"{month}-01T00:00:00+00:00"}
        with Store(outputs).writing(id * 16) as folder:
            asked = job.id
            write_result(folder, make_result(id=id * 16, request_id=asked, **said))
    done = bench_main("status", "--experiment", "demo", *words, f"paths.outputs={outputs}")
    assert done == (0, "demo: 1 cells: 1 done\n", "")
