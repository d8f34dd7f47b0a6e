from pathlib import Path

from bench.cells.request import experiment_requests
from bench.plots.spread import Row, plot_spread
from bench.tables.cell_rows import cell_rows
from bench.tables.spread import spread_of
from tests.bench.tables.test_tables import record


def test_every_seed_of_every_row(tmp_path: Path) -> None:
    asked = ["method=zeroq,real", "quant.bias_correction=none,empirical"]
    jobs = experiment_requests("demo", asked)
    results = [record(job, 180 + 2 * job.config.seed) for job in jobs[:-1]]
    panels, float_top1 = spread_of(cell_rows(jobs, results))
    assert float_top1 == [95.0]
    assert list(panels) == ["W8A8", "W4A4", "W3A3"]
    three = [90.0, 91.0, 92.0]
    labels = ["zeroq", "zeroq, empirical", "real", "real, empirical"]
    assert panels["W8A8"] == [Row(label, three) for label in labels]
    assert panels["W3A3"][-1] == Row("real, empirical", [90.0, 91.0])
    plot_spread(panels, float_top1, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 5_000
