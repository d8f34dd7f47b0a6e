"""Tables that are sorted by a number."""

from dataclasses import replace

import pytest

from bench.cells.request import experiment_requests
from bench.tables.table import Table, TableSource, cells_table
from models.errors import BenchError
from tests.bench.tables.test_tables import record

ASKED = ["method=zeroq,dsg"]
BOPS = {8: 3e9, 4: 1e9, 3: None}


@pytest.fixture
def source() -> TableSource:
    """Two methods at 8, 4 and 3 bits; W4A4 of dsg costs more, and 3 bits do not say."""
    results = []
    for job in experiment_requests("demo", ASKED):
        bits = int(job.config.quant.w_bits)
        cost = 2e9 if (bits, job.config.method["name"]) == (4, "dsg") else BOPS[bits]
        correct = 100 + 10 * bits + job.config.seed
        results.append(record(job, correct, bops=cost, size_mb=bits / 10))
    return TableSource(results, ASKED)


def sorted_by(source: TableSource, sort: str, *show: str) -> Table:
    return cells_table("demo", replace(source, show=show or ("top1",), sort=sort))


def test_a_line_each_by_a_cost(source: TableSource) -> None:
    table = sorted_by(source, "bops", "top1", "size_mb")
    assert list(table.texts.columns) == ["method", "quantized to", "top-1", "MiB", "BOPs"]
    assert table.texts.to_numpy().tolist() == [
        ["zeroq", "W4A4", "70.50 ± 0.50", "0.400", "1e+09"],
        ["dsg", "W4A4", "70.50 ± 0.50", "0.400", "2e+09"],
        ["zeroq", "W8A8", "90.50 ± 0.50", "0.800", "3e+09"],
        ["dsg", "W8A8", "90.50 ± 0.50", "0.800", "3e+09"],
        ["zeroq", "W3A3", "65.50 ± 0.50", "0.300", ""],
        ["dsg", "W3A3", "65.50 ± 0.50", "0.300", ""],
    ]
    assert table.best is not None and table.best.shape == table.texts.shape
    assert "BOPs: bit operations of an image" in table.heading
    rows = table.rows
    assert rows["bops"].dropna().is_monotonic_increasing
    assert list(rows["seed"][:3]) == [0, 1, 2]
    assert len(rows) == 18


def test_a_minus_turns_the_order(source: TableSource) -> None:
    falling = sorted_by(source, "-top1").texts
    assert list(falling["quantized to"]) == ["W8A8"] * 2 + ["W4A4"] * 2 + ["W3A3"] * 2
    assert list(falling.columns) == ["method", "quantized to", "top-1"]
    assert list(sorted_by(source, "-bops").texts["BOPs"]) == ["3e+09"] * 2 + [
        "2e+09",
        "1e+09",
        "",
        "",
    ]


def test_an_unknown_number(source: TableSource) -> None:
    with pytest.raises(BenchError, match=r"--sort size: no such number; .*size_mb"):
        sorted_by(source, "size")
