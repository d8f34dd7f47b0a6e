from dataclasses import replace
from pathlib import Path

import pytest

from bench.cells.request import experiment_requests
from bench.tables.render import render
from bench.tables.table import TableSource, cells_table, joint_table, shown
from models.errors import BenchError
from tests.bench.tables.test_tables import record

SHOW = ("top1", "size_mb", "logit_mse", "quantize_seconds")


def test_numbers_stand_beside_top1() -> None:
    asked = ["method=zeroq,dsg"]
    jobs = experiment_requests("demo", asked)
    results = [
        record(
            job,
            180 + 2 * job.config.seed,
            size_mb=0.5,
            logit_mse=0.25 + job.config.seed,
            seconds={"quantize": 2.0 + job.config.seed, "total": 9.0},
        )
        for job in jobs[:-1]  # a seed of the last cell is not measured
    ]
    table = cells_table("demo", TableSource(results, asked, show=SHOW))
    assert list(table.texts.columns) == [
        *("method", "W8A8", "W8A8 MiB", "W8A8 logits", "W8A8 s"),
        *("W4A4", "W4A4 MiB", "W4A4 logits", "W4A4 s"),
        *("W3A3", "W3A3 MiB", "W3A3 logits", "W3A3 s"),
    ]
    first, last = table.texts.iloc[0], table.texts.iloc[-1]
    assert list(first)[:5] == ["zeroq", "91.00 ± 1.00", "0.500", "1.25", "3.0"]
    assert list(last)[9:] == ["90.50 ± 0.71 (2/3 seeds)", "0.500", "0.75", "2.5"]
    assert table.best is not None
    assert table.best.shape == table.texts.shape
    assert table.heading[-1] == "s: seconds that quantizing takes, without images"
    earlier = table.rows.drop(columns=["mean_bits", "latency_ms"])  # as it was kept before these
    assert shown(earlier, SHOW)[0].equals(table.texts)
    alone = cells_table("demo", TableSource([], asked, show=("logit_mse",)))
    assert list(alone.texts.columns) == ["method", "W8A8 logits", "W4A4 logits", "W3A3 logits"]
    assert list(alone.texts.iloc[0])[1:] == ["", "", ""]


def test_the_drop_is_from_the_float_network_of_each_seed() -> None:
    jobs = experiment_requests("demo", ["method=zeroq"])
    results = [record(job, 180 + job.config.seed, fp32_top1=99.0) for job in jobs]
    table = cells_table("demo", TableSource(results, ["method=zeroq"], show=("top1", "drop")))
    assert list(table.texts.iloc[0])[1:3] == ["90.50 ± 0.50", "8.50"]


def test_an_unknown_number() -> None:
    with pytest.raises(BenchError, match=r"--show size: no such number; .*size_mb"):
        cells_table("demo", TableSource([], show=("size",)))


def test_cells_of_a_part_of_the_images_say_so() -> None:
    asked = ["method=zeroq", "quant.w_bits=4", "quant.a_bits=4"]
    jobs = experiment_requests("demo", asked)
    part = {"part_of": 1000, "lost": 14, "gained": 4, "drop_low": 1.0, "drop_high": 9.0}
    results = [record(job, 180, **part) for job in jobs[:1]]
    table = cells_table("demo", TableSource(results, [*asked, "seed=0"], show=("top1", "drop")))
    (row,) = table.texts.to_dict("records")
    assert row["W4A4"].endswith("] (180/200 of 1,000)")
    assert row["W4A4 drop"] == "5.00"  # of the 200 that it has seen
    assert any("1,000 images of 10 classes" in line for line in table.heading)
    assert any(line.startswith("1 of 1 cell is of a part") for line in table.heading)
    assert table.rows["part_of"].tolist() == [1000]
    several = [record(job, 180, **part) for job in jobs[:2]] + [record(jobs[2], 900, total=1000)]
    (text,) = cells_table("demo", TableSource(several, asked)).texts["W4A4"]
    assert text.endswith("± 0.00 (200 to 1,000 of 1,000 images)")
    whole = [record(job, 900, total=1000) for job in jobs]
    assert "part_of" not in cells_table("demo", TableSource(whole, asked)).rows


def test_a_training_that_missed_its_target_is_marked() -> None:
    asked = ["method=zeroq", "quant.w_bits=8,4"]
    jobs = experiment_requests("demo", asked)
    line = "the training has missed a target: weights, MiB 0.2, above the 0.1 of quant.size_mb=0.1"
    first = next(job for job in jobs if job.config.quant.w_bits == 4)
    results = [record(job, 180, warnings=[line] if job is first else []) for job in jobs]
    source = TableSource(results, asked, show=("top1", "drop"))
    table = cells_table("demo", source)
    (row,) = table.texts.to_dict("records")
    assert (row["W4A4"], row["W8A8"]) == ("90.00 ± 0.00 †", "90.00 ± 0.00")
    assert row["W4A4 drop"] == "5.00"
    assert sum(table.rows["missed_target"]) == 1
    (note,) = [each for each in table.notes if each.startswith("†")]
    assert note.startswith("† the training of a cell ended above a limit of its bits, 1 of 6 cells")
    sorted_lines = cells_table("demo", replace(source, sort="-drop")).texts
    assert sorted(sorted_lines["top-1"]) == ["90.00 ± 0.00", "90.00 ± 0.00 †"]
    whole = cells_table("demo", TableSource([record(job, 180) for job in jobs], asked))
    assert "missed_target" not in whole.rows
    assert not any(each.startswith("†") for each in whole.notes)


def test_a_mark_survives_a_kept_table(tmp_path: Path) -> None:
    asked = ["method=zeroq", "quant.w_bits=4"]
    line = "the training has missed a target: x"
    results = [record(job, 180, warnings=[line]) for job in experiment_requests("demo", asked)]
    kept = tmp_path / "kept.csv"
    kept.write_text(render(cells_table("demo", TableSource(results, asked)), "csv"))
    texts = joint_table([str(kept)], TableSource([])).texts
    assert texts["W4A4"].tolist() == ["90.00 ± 0.00 †"]
