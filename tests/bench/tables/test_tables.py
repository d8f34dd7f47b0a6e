"""The way from result records to a printed table, on hand-made records."""

import re
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from bench.cell import request_id
from bench.cli import main
from bench.experiments import Job, experiment_jobs
from bench.result import Result
from bench.store import Store
from bench.tables.collect import collect
from bench.tables.notes import footnotes, heading
from bench.tables.render import render
from bench.tables.summarise import cell_text, row_keys, summarise, wide

GOLDEN = Path(__file__).parent / "golden"


def record(job: Job, correct: int, total: int = 200, status: str = "done", **more) -> Result:
    """A result for `job` with `correct` of `total` images right."""
    config = job.config
    done = status == "done"
    numbers = {"top1": 100 * correct / total, "correct": correct, "total": total, "classes": 10}
    numbers |= {"top5": 100.0, "ci_low": 10.0, "ci_high": 90.0, "fp32_top1": 95.0}
    recipe = {
        "weights": {"source": "a file", "sha256": "0123456789abcdef"},
        "quantizer": {"w_bits": 4, "a_bits": 4, "sites": "relu"},
        "batchnorm": "float",
        "method": {"name": config.method["name"], "version": 1, "images": 16},
        "evaluation": {"fingerprint": "f" * 8},
    }
    asked = {
        "id": f"{request_id(config)}x",
        "request_id": request_id(config),
        "status": status,
        "reason": None if done else "broke",
        "model": config.model.name,
        "weights": "default",
        "method": config.method["name"],
        "data": config.data["name"],
        "w_bits": config.quant["w_bits"],
        "a_bits": config.quant["a_bits"],
        "seed": config.seed,
        "group": "demo",
        "weights_sha256": "0123456789abcdef",
        "recipe": recipe,
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Result(**{**asked, **(numbers if done else {}), **more})


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    return experiment_jobs("demo")


@pytest.fixture(scope="module")
def results(jobs: list[Job]) -> list[Result]:
    """Every demo cell: correct counts 180, 182, 184 for seeds 0, 1, 2 at each of nine places."""
    return [record(job, 180 + 2 * job.config.seed) for job in jobs]


def test_demo_has_27_cells_in_order(jobs):
    labels = [(j.config.method["name"], j.config.quant["w_bits"], j.config.seed) for j in jobs]
    assert len(jobs) == len(set(labels)) == 27
    assert labels[:4] == [
        ("gaussian", 8, 0),
        ("gaussian", 8, 1),
        ("gaussian", 8, 2),
        ("gaussian", 4, 0),
    ]
    assert all(j.config.quant["a_bits"] == j.config.quant["w_bits"] for j in jobs)


def test_collect_joins_by_request_and_marks_missing(jobs, results):
    cells = collect(jobs, results[:5])
    assert list(cells["status"][:6]) == ["done"] * 5 + ["missing"]
    assert cells["top1"][0] == 90.0
    assert cells["command"][5].startswith("bench run experiment=demo method=gaussian")


def test_collect_takes_the_newer_of_two_results(jobs):
    newer = record(jobs[0], 100, id="newer", started_at="2026-02-01T00:00:00+00:00")
    older = record(jobs[0], 50, id="older")
    for both in ([newer, older], [older, newer]):
        assert collect(jobs[:1], both)["id"][0] == "newer"


def test_row_keys_ignore_parameters_of_one_method_only(jobs, results):
    assert row_keys(collect(jobs, results)) == ["method"]


def test_row_keys_show_what_varies(jobs):
    cells = collect(experiment_jobs("demo", ["recipe=zeroq_release,all_inputs"]), [])
    assert row_keys(cells) == ["method", "quant.sites"]
    assert len(wide(summarise(cells))) == 6


def test_mean_and_spread_over_seeds_by_hand(jobs, results):
    row = summarise(collect(jobs, results)).iloc[0]
    # 90, 91 and 92 %: mean 91, sample deviation 1
    assert (row["mean"], row["spread"], row["done"], row["seeds"]) == (91.0, 1.0, 3, 3)


def test_row_keys_ignore_how_rounding_is_learned_where_it_is_not(jobs):
    cells = collect(jobs[:2], [])
    cells["quant.rounding"] = ["nearest", "adaround"]
    cells["quant.rounding_iterations"] = [10_000, 300]
    assert row_keys(cells) == ["method", "quant.rounding"]
    cells["quant.rounding"] = ["adaround", "adaround"]
    assert row_keys(cells) == ["method", "quant.rounding_iterations"]


def test_mixed_precision_has_its_budget_for_a_column(jobs):
    asked = [
        {"w_bits": 4, "a_bits": 8},
        {"w_bits": "mixed", "a_bits": 8, "mean_bits": 4},
        {"w_bits": "mixed", "a_bits": 6, "size_mb": 2.5},
    ]
    configs = [jobs[0].config.model_copy(update={"quant": quant}) for quant in asked]
    table = wide(summarise(collect([Job(jobs[0].overrides, c) for c in configs], [])))
    assert list(table.columns) == ["method", "W4A8", "MP4/A8", "MP2.5MiB/A6"]
    assert len(table) == 1


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"done": 3, "seeds": 3, "mean": 91, "spread": 1}, "91.00 ± 1.00"),
        ({"done": 2, "seeds": 3, "mean": 91, "spread": 1}, "91.00 ± 1.00 (2/3 seeds)"),
        (
            {"done": 1, "seeds": 1, "mean": 9.5, "spread": None, "ci_low": 8, "ci_high": 11},
            "9.50 [8.00, 11.00]",
        ),
        ({"done": 0, "seeds": 1, "status": "missing"}, "not run"),
        ({"done": 0, "seeds": 1, "status": "failed"}, "failed"),
        ({"done": 0, "seeds": 1, "status": "skipped"}, "n/a"),
    ],
)
def test_cell_text(row, text):
    assert cell_text(row) == text


def test_wide_has_a_row_a_method_and_a_column_a_bit_width(jobs, results):
    table = wide(summarise(collect(jobs, results)))
    assert list(table.columns) == ["method", "W8A8", "W4A4", "W3A3"]
    assert list(table["method"]) == ["gaussian", "zeroq", "real"]
    assert set(table["W3A3"]) == {"91.00 ± 1.00"}


def test_heading_names_images_float_and_seeds(jobs, results):
    lines = heading(collect(jobs, results))
    assert lines == [
        "resnet20 on mnist5k: 200 images of 10 classes; float top-1 95.00 % [91.04, 97.26]",
        "top-1 in %, mean ± standard deviation over seeds 0, 1, 2",
    ]


def test_heading_warns_of_different_images(jobs, results):
    recipe = {**results[1].recipe, "evaluation": {"fingerprint": "other"}}
    mixed = [results[0], record(jobs[1], 180, recipe=recipe)]
    assert "WARNING: these cells were measured on different images" in heading(collect(jobs, mixed))


def test_footnotes_give_the_recipe_once_and_count_what_is_missing(jobs, results):
    notes = footnotes(results[:3], collect(jobs, results[:3]))
    assert notes == [
        "resnet20: a file, sha256 0123456789ab",
        "quantizer: sites relu; BatchNorm float",
        "gaussian: images 16",
        "24 of 27 cells are not run, 0 failed",
    ]


@pytest.mark.parametrize("to", ["text", "md", "latex", "html"])
def test_formats_are_as_recorded(jobs, results, to):
    cells = collect(jobs, [*results[:20], record(jobs[20], 0, status="failed")])
    table = wide(summarise(cells))
    notes = footnotes(results[:20], cells)
    assert render(table, cells, heading(cells), notes, to) == (GOLDEN / f"demo.{to}").read_text()


def test_csv_has_a_line_a_cell_and_keeps_every_digit(jobs, results):
    cells = collect(jobs, results)
    frame = pd.read_csv(StringIO(render(pd.DataFrame(), cells, [], [], "csv")))
    assert len(frame) == 27
    assert list(frame["correct"][:3]) == [180, 182, 184]
    assert frame["command"].str.contains("bench run experiment=demo").all()


def test_command_prints_and_writes(tmp_path, jobs, results, capsys):
    store = Store(tmp_path)
    for result in results[:2]:
        with store.writing(result.id) as folder:
            (folder / "result.json").write_text(result.model_dump_json())
    # paths.outputs is no part of what was asked for, so the records are found
    assert main(["table", "demo", f"paths.outputs={tmp_path}", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| gaussian +\| 90.50 ± 0.71 \(2/3 seeds\)", printed)
    target = tmp_path / "sub" / "demo.tex"
    args = ["table", "demo", f"paths.outputs={tmp_path}", "--format", "latex", "--out", str(target)]
    assert main(args) == 0
    assert target.read_text().count(r"\\") == 4


def test_unknown_table_is_one_line(capsys):
    assert main(["table", "dmeo"]) == 2
    assert capsys.readouterr().err == "error: unknown experiment 'dmeo'; did you mean 'demo'?\n"
