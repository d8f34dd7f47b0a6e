import re
from collections.abc import Callable
from pathlib import Path

import pytest

import bench.papers.ledger
import bench.tracking.fetch
from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.tracking.fetch import Run
from bench.tracking.result_copy import summary, to_config
from tests.bench.conftest import Finished
from tests.bench.papers.examples import long_results
from tests.bench.tables.test_tables import record
from tests.spy import lines_of
from tests.test_imports import imported

Bench = Callable[..., Finished]


@pytest.fixture
def results(outputs: Path) -> list[Result]:
    """Results of the table dsg_resnet18, kept under `outputs`."""
    store = Store(outputs)
    for result in long_results():
        with store.writing(result.id) as folder:
            write_result(folder, result)
    return long_results()


def test_a_table_of_a_paper(bench_main: Bench, outputs: Path, results: list[Result]) -> None:
    done = bench_main("table", "dsg_resnet18", f"paths.outputs={outputs}", "--format", "md")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("DSG (CVPR 2021): comparison on ImageNet, ResNet-18")
    (zeroq,) = re.findall(r"^\| ZeroQ +\|.*26\.04.*$", done.out, re.MULTILINE)
    assert [cell.strip() for cell in zeroq.strip("|").split("|")] == [
        *("ZeroQ", "✓", "✓", "4", "4", "26.04", "24.40", "[23.41, 25.39]", "-1.64", "off by -1.64")
    ]
    assert "- no method here: RVQuant; docs/reproducing.md says why" in done.out


@pytest.mark.thorough
def test_a_table_of_an_experiment(bench_main: Bench, outputs: Path) -> None:
    few = ("data.limit=10", "method.images=4")
    narrowed = (*few, "seed=0", "quant.w_bits=8", f"paths.outputs={outputs}")
    bench_main("run", "experiment=demo", "tracking=none", "method=gaussian", *narrowed)
    done = bench_main("table", "demo", *narrowed, "--format", "md")
    assert re.search(r"\| gaussian +\| \d+\.\d\d \[", done.out)
    assert "- 2 of 3 cells are not run, 0 failed" in done.out
    missing = bench_main("table", "demo", *narrowed, "--missing")
    assert (missing.status, missing.err) == (0, "")
    commands = missing.out.splitlines()
    assert [re.findall(r"method=(\w+)", line) for line in commands] == [["zeroq"], ["real"]]
    # What is printed can be typed, and fills the cell.
    again = bench_main(*commands[1].split()[1:], "tracking=none")
    assert again.status == 0
    assert len(bench_main("table", "demo", *narrowed, "--missing").out.splitlines()) == 1
    # With another number of images nothing is measured, and the table says why.
    other = bench_main("table", "demo", *narrowed[1:])
    assert "3 of 3 cells are not run, 0 failed" in other.out
    assert "2 of the missing cells are measured with data.limit=10; repeat that here" in other.out
    group = bench_main("table", "demo", *narrowed)
    assert "data.limit" not in group.out


def test_a_plot_against_a_cost(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    asked = ("seed=0", "quant.w_bits=8", f"paths.outputs={outputs}")
    jobs = experiment_requests("demo", ["seed=0", "quant.w_bits=8"])
    store = Store(outputs)
    for job, cost in zip(jobs, ({"size_mb": 0.5}, {"size_mb": 0.25}, {}), strict=True):
        result = record(job, 190, **cost)
        with store.writing(result.id) as folder:
            write_result(folder, result)
    plot = tmp_path / "plot.png"
    drawn = bench_main("table", "demo", *asked, "--plot", plot, "--against", "size_mb")
    assert drawn.status == 0
    assert plot.read_bytes()[:4] == b"\x89PNG"
    plot.unlink()
    both = bench_main("table", "demo", "adhoc", *asked, "--plot", plot, "--against", "size_mb")
    assert both.err.startswith("error: unknown table 'adhoc'")
    two = ("table", "demo", *asked[2:], "mixed_precision_resnet20", "--plot", plot)
    assert bench_main(*two, "seed=0", "--against", "size_mb").status == 0
    refused = {
        ("--against", "bops"): "error: --against bops is of a plot; add --plot FILE\n",
        ("--plot", plot, "--against", "latency_ms"): (
            "error: --against latency_ms: no cell of demo records it; it is recorded with "
            "quant.latency_table=FILE alone\n"
        ),
    }
    for typed, said in refused.items():
        assert bench_main("table", "demo", *asked, *typed) == Finished(2, "", said)
    wrong = bench_main("table", "demo", *asked, "--plot", plot, "--against", "mb")
    assert wrong.err.startswith("error: --against mb: no such cost; cells record size_mb, size_w")


def test_cells_that_lack_the_cost_are_said(
    bench_main: Bench, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = lines_of(monkeypatch, "bench.commands.table", "warning")
    jobs = experiment_requests("demo", ["seed=0", "quant.w_bits=8"])
    for job, cost in zip(jobs, ({"size_mb": 0.5}, {}, {}), strict=True):
        result = record(job, 190, **cost)
        with Store(outputs).writing(result.id) as folder:
            write_result(folder, result)
    asked = ("seed=0", "quant.w_bits=8", f"paths.outputs={outputs}")
    bench_main("table", "demo", *asked, "--plot", tmp_path / "a.png", "--against", "size_mb")
    assert warnings == [
        "warning: 2 of 3 measured cells record no size_mb and are not drawn; results from before "
        "it was recorded have none; force=true measures them again"
    ]


def test_missing_prints_commands_and_nothing_else(
    bench_main: Bench, outputs: Path, results: list[Result]
) -> None:
    place = (f"paths.outputs={outputs}", "data.root=/my images")
    done = bench_main("table", "dsg_resnet18", "--missing", *place)
    lines = done.out.splitlines()
    # 1 float cell and 13 cells of three seeds, of which 1 + 3 + 3 + 2 + 3 + 1 are done.
    assert len(lines) == 40 - 13
    assert all(line.startswith("bench run experiment=dsg_resnet18 recipe=") for line in lines)
    assert all(f"paths.outputs={outputs} 'data.root=/my\\ images'" in line for line in lines)
    assert len(set(lines)) == len(lines)


def test_to_a_file(bench_main: Bench, outputs: Path) -> None:
    target = outputs / "sub" / "table.tex"
    done = bench_main("table", "zeroq_w8a8", "--format", "latex", "--out", target)
    assert done.out == f"wrote {target}\n"
    assert target.read_text().startswith("% Compiles as it is.")
    assert target.read_text().endswith("\\end{document}\n")


@pytest.mark.parametrize("asked", [["table", "demo"], ["ledger"]], ids=" ".join)
def test_a_file_that_cannot_be_written(
    bench_main: Bench,
    outputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[str],
) -> None:
    monkeypatch.setattr(bench.papers.ledger, "table_names", lambda: ("zeroq_w8a8",))
    place = f"paths.outputs={outputs}"
    assert bench_main(*asked, "--out", tmp_path, place) == Finished(
        2, "", f"error: cannot write {tmp_path}: it is a folder; name a file\n"
    )
    missing = bench_main("table", "demo", "--missing", "--out", "/dev/null/x", place)
    assert missing == Finished(
        2, "", "error: cannot write /dev/null/x: /dev/null is no folder; name another file\n"
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("quant.rounding_iterations=many", "'many'; give a whole number, 1 or more"),
        ("quant.rounding_rate=null", "None; give a positive number"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_line(bench_main: Bench, override: str, said: str) -> None:
    done = bench_main("table", "demo", override)
    key, _, _ = override.partition("=")
    assert done == Finished(2, "", f"error: {key}={said}\n")


def test_what_is_no_result_is_named_and_counted(
    bench_main: Bench, outputs: Path, results: list[Result]
) -> None:
    (outputs / "cells" / "foreign").mkdir()
    (outputs / "cells" / "broken").mkdir()
    (outputs / "cells" / "broken" / "result.json").write_text("{")
    done = bench_main("table", "dsg_resnet18", f"paths.outputs={outputs}")
    assert done.status == 0
    assert "2 entries are not counted: no whole result of this version, see" in done.out
    assert "24.40" in done.out


def test_from_runs(
    bench_main: Bench, outputs: Path, results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [Run(f"me/mine/{r.id}", to_config(r, "a"), summary(r)) for r in results]
    monkeypatch.setattr(bench.tracking.fetch, "fetch_runs", lambda project: runs)
    place = f"paths.outputs={outputs}"
    local = bench_main("table", "dsg_resnet18", place)
    remote = bench_main("table", "dsg_resnet18", "--from", "wandb:me/mine", place)
    assert remote == local
    wrong = bench_main("table", "dsg_resnet18", "--from", "wandb:mine")
    assert wrong.status == 2
    assert wrong.err.startswith("error: --from 'wandb:mine' is no place of runs")


def test_an_unknown_table(bench_main: Bench) -> None:
    wrong = {"dmeo": "demo", "dsg_resnet8": "dsg_resnet18", "coquant_minikinetics": None}
    for name, close in wrong.items():
        done = bench_main("table", name)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith(f"error: unknown table '{name}'; did you mean '{close or ''}")
        assert done.err.count("\n") == 1


@pytest.mark.thorough
def test_views_import_neither_torch_nor_wandb(tmp_path: Path) -> None:
    lines = (
        ["table", "demo"],
        ["table", "dsg_resnet18", "--format", "latex"],
        ["table", "coquant_cifar10_resnet18"],
        ["ledger"],
        ["status"],
        ["status", "--experiment", "demo"],
    )
    calls = "\n".join(f"assert not main([*{line!r}, 'paths.outputs={tmp_path}'])" for line in lines)
    assert imported(f"from bench.cli import main\n{calls}") <= {"pandas"}
