from pathlib import Path

import pytest

from bench.config.experiments import experiment_jobs, outputs_of
from bench.config.files import options
from models.errors import BenchError
from tests.bench.cells_of import request_id


def test_the_demo_has_27_cells() -> None:
    jobs = experiment_jobs("demo")
    assert len(jobs) == 27
    assert len({request_id(job.config) for job in jobs}) == 27
    assert jobs[0].overrides == ["experiment=demo", "method=gaussian", "quant.w_bits=8", "seed=0"]
    assert {job.config.method["images"] for job in jobs} == {16}
    assert {job.config.group for job in jobs} == {"demo"}
    assert all(job.config.quant.a_bits == job.config.quant.w_bits for job in jobs)


def test_the_command_line_narrows_an_experiment() -> None:
    jobs = experiment_jobs("demo", ["seed=5", "method=real,gaussian", "data.limit=10"])
    assert len(jobs) == 6
    assert {job.config.seed for job in jobs} == {5}
    assert {job.config.data["limit"] for job in jobs} == {10}
    assert [job.config.method["name"] for job in jobs] == ["real"] * 3 + ["gaussian"] * 3


def test_unknown_experiment() -> None:
    with pytest.raises(BenchError) as error:
        experiment_jobs("dmo")
    assert str(error.value) == "unknown experiment 'dmo'; did you mean 'demo'?"


def test_every_shipped_experiment_describes_itself() -> None:
    for name, description in options("experiment").items():
        assert description, name


def test_a_folder_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# two methods\ngroup: mine\nhydra:\n  mode: MULTIRUN\n"
        "  sweeper:\n    params:\n      method: gaussian,real\n"
    )
    assert options("experiment", tmp_path)["mine"] == "two methods"
    jobs = experiment_jobs("mine", user_configs=tmp_path)
    assert [job.config.method["name"] for job in jobs] == ["gaussian", "real"]
    assert {job.config.group for job in jobs} == {"mine"}


def test_outputs_of() -> None:
    assert outputs_of([]) == Path("outputs")
    assert outputs_of(["seed=1", "paths.outputs=/a/b=c"]) == Path("/a/b=c")
    assert outputs_of(["paths.outputs=a", "paths.outputs=b"]) == Path("b")
