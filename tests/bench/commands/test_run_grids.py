"""`bench run -m` on an experiment of several grids."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.request import experiment_requests
from bench.cells.store import Store
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]

EXPERIMENT = """# @package _global_
# two grids
defaults:
  - override /hydra/sweeper: grids
group: mine
hydra:
  mode: MULTIRUN
  sweeper:
    grids:
      - {method: gaussian, recipe: zeroq_release, quant: "w8a8,w4a4", seed: 0}
      - {method: gaussian, recipe: all_inputs, quant: w8a8, seed: 0}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return folder


@pytest.mark.thorough
def test_exactly_the_cells_of_the_grids(bench_main: Bench, own: Path, outputs: Path) -> None:
    few = ("data.limit=50", f"paths.outputs={outputs}")
    place = ("--config-dir", own, *few)
    done = bench_main("run", "-m", *place, "experiment=mine", "tracking=none")
    assert (done.status, done.err) == (0, "")
    assert "[3/3]" in done.out  # the journal knew how many there are
    measured = {r.request_id for r in Store(outputs).results() if r.method != "float"}
    asked = [job.id for job in experiment_requests("mine", few, own)]
    assert measured == set(asked)
    assert len(asked) == 3
    assert bench_main("table", "mine", "--missing", *place).out == ""
    status = bench_main("status", "--experiment", "mine", *place)
    assert status.out == "mine: 3 cells: 3 done\n"


def test_the_command_of_a_cell_runs_that_cell(bench_main: Bench, own: Path, outputs: Path) -> None:
    place = ("--config-dir", own, "data.limit=50", f"paths.outputs={outputs}")
    missing = bench_main("table", "mine", "--missing", *place).out.splitlines()
    assert len(missing) == 3
    done = bench_main(*missing[2].split()[1:], "tracking=none")
    assert (done.status, done.err) == (0, "")
    assert bench_main("table", "mine", "--missing", *place).out.splitlines() == missing[:2]
