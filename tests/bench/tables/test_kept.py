"""Tables that were kept as CSV files, read again."""

from pathlib import Path

import pytest

from bench.cells.request import experiment_requests
from bench.papers.by_name import make_tables
from bench.tables.costs import panels_of
from bench.tables.kept import kept_rows
from bench.tables.render import render
from bench.tables.table import TableSource
from models.errors import BenchError
from tests.bench.tables.test_tables import record

NAMES = ("mixed_precision_resnet20", "bayesian_bits_resnet20")
SEED = ["seed=0"]


def _kept(folder: Path, name: str) -> tuple[Path, list[str]]:
    """Return the CSV file of an experiment's cells, and their ids."""
    jobs = experiment_requests(name, SEED)
    results = [record(job, 180 + n, mean_bits=3.0 + n) for n, job in enumerate(jobs)]
    file = folder / f"{name}.csv"
    file.write_text(render(make_tables([name], TableSource(results, SEED)), "csv"), "utf-8")
    return file, [result.id for result in results]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file, ids = _kept(tmp_path, NAMES[0])
    cells = kept_rows(file)
    assert list(cells["id"]) == ids
    assert set(cells["w_bits"]) == {3, "MP3", 4, "MP4"}
    assert set(cells["a_bits"]) == {8}
    assert cells["top1"].tolist() == [90.0 + n / 2 for n in range(12)]
    assert (2, 4, 8) in set(cells["quant.w_candidates"])


def test_kept_tables_stand_beside_others_and_each_cell_once(tmp_path: Path) -> None:
    first, of_first = _kept(tmp_path, NAMES[0])
    second, of_second = _kept(tmp_path, NAMES[1])
    table = make_tables([str(first), str(second)], TableSource([]))
    assert list(table.rows["id"]) == [*of_first, *of_second]
    assert table.missing == []
    jobs = experiment_requests(NAMES[0], SEED)
    results = [record(job, 180 + n, mean_bits=3.0 + n) for n, job in enumerate(jobs)]
    table = make_tables([NAMES[0], str(first), str(second)], TableSource(results, SEED))
    assert list(table.rows["id"]) == [*of_first, *of_second]
    (panel,) = panels_of(table.rows, "mean_bits").values()
    assert {curve.method for curve in panel.curves} == {
        "gaussian",
        "zeroq",
        "real",
        "bayesian_bits",
    }


def test_what_is_not_measured_is_taken_from_a_kept_table(tmp_path: Path) -> None:
    file, ids = _kept(tmp_path, NAMES[0])
    jobs = experiment_requests(NAMES[0], SEED)
    # Of twelve cells one is measured here, with another number; the others are in the file.
    here = record(jobs[3], 150, mean_bits=4.0)
    table = make_tables([NAMES[0], str(file)], TableSource([here], SEED))
    assert table.missing == []
    assert list(table.rows["id"]) == ids
    assert table.rows["top1"].tolist() == [75.0 if n == 3 else 90.0 + n / 2 for n in range(12)]
    # Nor does a file have them that are measured in another precision.
    other = kept_rows(file).assign(**{"runtime.precision": "bf16"})
    other.to_csv(tmp_path / "other.csv", index=False)
    table = make_tables([NAMES[0], str(tmp_path / "other.csv")], TableSource([], SEED))
    assert len(table.missing) == 12
    # Cells of another seed are others, and stand behind those that were asked for.
    table = make_tables([NAMES[0], str(file)], TableSource([], ["seed=1"]))
    assert len(table.missing) == 12
    assert list(table.rows["status"]) == ["missing"] * 12 + ["done"] * 12


def test_a_file_that_is_no_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match=r"^there is no file .*gone\.csv; make it with `bench table"
    ):
        make_tables([str(tmp_path / "gone.csv")], TableSource([]))
    file = tmp_path / "other.csv"
    for content, why in (("a,b\n1,2\n", "it has no column a_bits"), ("", "No columns to parse")):
        file.write_text(content)
        with pytest.raises(BenchError, match=rf"other\.csv is not the CSV file of a table: {why}"):
            kept_rows(file)
    file.write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(BenchError, match=r"other\.csv is not the CSV file of a table"):
        kept_rows(file)
