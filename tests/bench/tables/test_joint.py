"""One table of several experiments and groups."""

import pytest

from bench.cells.request import experiment_requests
from bench.papers.by_name import make_tables
from bench.tables.table import TableSource, joint_table
from models.errors import BenchError
from tests.bench.tables.test_tables import record

NAMES = ("mixed_precision_resnet20", "bayesian_bits_resnet20")
SEED = ["seed=0"]


def test_cells_of_several_experiments_stand_in_one_table() -> None:
    jobs = [job for name in NAMES for job in experiment_requests(name, SEED)]
    results = [record(job, 180 + n) for n, job in enumerate(jobs[:-1])]
    table = joint_table(NAMES, TableSource(results, SEED))
    assert len(table.rows) == len(jobs) == 12 + 3
    assert list(table.rows["id"][:-1]) == [result.id for result in results]
    assert list(table.texts.columns) == [
        *("method", "mu", "W3A8", "MP3/A8", "W4A8", "MP4/A8", "MP/AMP"),
    ]
    assert list(table.texts["method"]) == ["gaussian", "zeroq", "real", *["bayesian_bits"] * 3]
    (missing,) = table.missing
    assert missing.startswith("bench run experiment=bayesian_bits_resnet20")
    assert "1 of 15 cells are not run, 0 failed" in table.notes


def test_a_cell_of_two_names_is_there_once() -> None:
    jobs = experiment_requests("mixed_precision_resnet20", SEED)
    results = [record(job, 190, group="mine" if n < 4 else "demo") for n, job in enumerate(jobs)]
    table = joint_table(["mine", "mixed_precision_resnet20"], TableSource(results, SEED))
    assert sorted(table.rows["id"]) == sorted(result.id for result in results)
    groups = joint_table(["mine"], TableSource(results, SEED))
    assert sorted(groups.rows["id"]) == sorted(result.id for result in results[:4])


def test_an_experiment_and_a_group_differ_in_what_cells_differ_in() -> None:
    inside = experiment_requests("mixed_precision_resnet20", [*SEED, "method=real"])
    outside = experiment_requests("mixed_precision_resnet20", [*SEED, "method=dsg"])
    results = [record(job, 180) for job in inside]
    results += [record(job, 190, group="mine") for job in outside]
    table = joint_table(["mixed_precision_resnet20", "mine"], TableSource(results, SEED))
    assert len(table.rows) == 12 + 4
    rows = table.texts.set_index("method")
    assert rows.loc["real", "W4A8"].startswith("90.00 ")
    assert (table.rows["status"] == "done").sum() == 8


def test_names_that_make_no_table_together() -> None:
    source = TableSource([])
    with pytest.raises(BenchError, match=r"^dsg_resnet18 is a paper's table and stands alone"):
        make_tables(["demo", "dsg_resnet18"], source)
    with pytest.raises(BenchError, match=r"^unknown table 'dmeo'; did you mean 'demo'\?"):
        make_tables(["demo", "dmeo"], source)
    with pytest.raises(BenchError, match=r"^name a table"):
        make_tables([], source)
