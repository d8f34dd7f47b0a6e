import pytest

from bench.cells.request import Request, experiment_requests, request_of
from bench.plots.costs import Point
from bench.tables.cell_rows import cell_rows
from bench.tables.costs import check_cost, panels_of, without
from models.errors import BenchError
from models.quantize.spec import QuantSpec
from tests.bench.tables.test_tables import record


def numbers(points: list[Point]) -> list[tuple[float, ...]]:
    return [tuple(round(number, 6) for number in point[1:]) for point in points]


def jobs_at(specs: list[QuantSpec]) -> list[Request]:
    """Requests of a cell of the demo at other bits."""
    (job,) = experiment_requests("demo", ["method=real", "quant.w_bits=8", "seed=0"])
    configs = [job.config.model_copy(update={"quant": spec}) for spec in specs]
    return [request_of(config, job.overrides) for config in configs]


def test_points_are_means_of_records_with_their_spread() -> None:
    jobs = experiment_requests("demo", ["method=zeroq,real", "quant.w_bits=8,4"])
    sizes = {8: 0.2, 4: 0.1}
    results = [
        record(
            job,
            180 + 2 * job.config.seed + (job.config.method["name"] == "real"),
            size_mb=sizes[job.config.quant.w_bits] + 0.01 * job.config.seed,
        )
        for job in jobs
    ]
    panels = panels_of(cell_rows(jobs, results), "size_mb")
    assert list(panels) == ["mnist5k"]
    zeroq, real = panels["mnist5k"].curves
    assert (zeroq.method, zeroq.label, real.label) == ("zeroq", "zeroq", "real")
    assert [point.label for point in zeroq.points] == ["W4A4", "W8A8"]  # costs rise
    assert numbers(zeroq.points) == [(0.11, 0.01, 91, 90, 92), (0.21, 0.01, 91, 90, 92)]
    assert numbers(real.points) == [(0.11, 0.01, 91.5, 90.5, 92.5), (0.21, 0.01, 91.5, 90.5, 92.5)]
    assert panels["mnist5k"].of_float == [95.0]


def test_one_seed_has_its_interval_and_a_cell_without_the_cost_is_counted() -> None:
    jobs = experiment_requests("demo", ["method=real", "seed=0"])
    costs = [{"bops": 4_000}, {"bops": 1_000}, {}]
    results = [record(job, 190, **cost) for job, cost in zip(jobs, costs, strict=True)]
    cells = cell_rows(jobs, results)
    assert without(cells, "bops") == (1, 3)
    (curve,) = panels_of(cells, "bops")["mnist5k"].curves
    assert numbers(curve.points) == [(1_000, 0, 95, 10, 90), (4_000, 0, 95, 10, 90)]
    assert without(cells, "latency_ms") == (3, 3)
    assert panels_of(cells, "latency_ms") == {}
    failed = cell_rows(jobs, [record(jobs[0], 0, status="failed"), *results[1:]])
    assert without(failed, "bops") == (1, 2)


def test_mixed_bits_and_bits_of_activations_are_lines_of_their_own() -> None:
    specs = [
        *(QuantSpec(bits, 8) for bits in (3, 4)),
        QuantSpec(4, 4),
        *(QuantSpec("mixed", 8, mean_bits=bits) for bits in (3, 4)),
    ]
    jobs = jobs_at(specs)
    results = [record(job, 180 + n, size_mb=0.1 + n) for n, job in enumerate(jobs)]
    (panel,) = panels_of(cell_rows(jobs, results), "size_mb").values()
    found = {curve.label: [point.label for point in curve.points] for curve in panel.curves}
    assert found == {
        "real, equal bits, A8": ["W3A8", "W4A8"],
        "real, equal bits, A4": ["W4A4"],
        "real, mixed bits, A8": ["MP3/A8", "MP4/A8"],
    }


def test_numbers_take_the_place_of_a_budget_where_there_is_none() -> None:
    asked = ["method.mu=0.001,0.01", "method.pruning=true,false", "seed=0"]
    jobs = experiment_requests("bayesian_bits_resnet20", asked)
    results = [record(job, 180 + n, bops=9 - n) for n, job in enumerate(jobs)]
    (panel,) = panels_of(cell_rows(jobs, results), "bops").values()
    found = {curve.label: [(p.label, p.cost) for p in curve.points] for curve in panel.curves}
    assert found == {
        "bayesian_bits, pruning True": [("mu 0.01", 7), ("mu 0.001", 9)],
        "bayesian_bits, pruning False": [("mu 0.01", 6), ("mu 0.001", 8)],
    }
    budgets = experiment_requests("mixed_step_range_resnet20", ["seed=0"])
    results = [record(job, 180 + n, size_mb=9 - n) for n, job in enumerate(budgets)]
    (panel,) = panels_of(cell_rows(budgets, results), "size_mb").values()
    assert [curve.label for curve in panel.curves] == [
        "mixed_step_range, tensor",
        "mixed_step_range, channel",
    ]
    assert [point.label for point in panel.curves[0].points] == [
        *("MP4/AMP4", "MP3/AMP3", "MP2.5/AMP2.5", "MP2/AMP2"),
    ]


def test_an_unknown_cost() -> None:
    with pytest.raises(
        BenchError, match=r"^--against size: no such cost; cells record size_mb, size"
    ):
        check_cost("size")
    check_cost("bops_with_additions")
