"""Which value of a column may be marked as the best."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.tables.best import SeedMean, best_rows, difference_p, resolved_winners
from bench.tables.summarise import summarise


def measured(*top1: float, images: int = 1000) -> SeedMean:
    """Make the value of a table from one top-1 a seed."""
    spread = float(np.std(top1, ddof=1)) if len(top1) > 1 else math.nan
    return SeedMean(float(np.mean(top1)), spread, len(top1), images)


def one(*top1: float, images: int = 1000) -> list[SeedMean | None]:
    """Make a column of methods with one seed each."""
    return [measured(value, images=images) for value in top1]


def test_one_seed_is_the_test_of_two_proportions() -> None:
    error = 100 * math.sqrt(2 * 0.75 * 0.25 / 1000)
    found = difference_p(measured(80.0), measured(70.0))
    assert found == pytest.approx(2 * stats.norm.sf(10 / error), rel=1e-6)
    assert difference_p(measured(100.0), measured(100.0)) == 1.0


@pytest.mark.parametrize("second", [[50.0, 58.0, 57.0, 55.0], [62.0, 61.0], [60.0, 60.1, 60.2]])
def test_seeds_are_compared_as_by_welch(second: list[float]) -> None:
    first, many = [61.0, 63.0, 65.0], 10**12
    welch = stats.ttest_ind(first, second, equal_var=False)
    found = difference_p(measured(*first, images=many), measured(*second, images=many))
    rounded = 2 * stats.t.sf(abs(welch.statistic), math.floor(welch.df))
    assert found == pytest.approx(rounded, rel=1e-6)
    assert found >= welch.pvalue


def test_a_clear_winner_and_a_narrow_one() -> None:
    assert resolved_winners([one(10.0, 85.5, 63.3)]) == [1]
    assert resolved_winners([one(85.5, 84.9, 10.0)]) == [None]
    assert resolved_winners([one(85.5, 84.9, images=1_000_000)]) == [0]
    assert resolved_winners([one(85.0, 85.0)]) == [None]


def test_what_is_not_measured_is_passed_over() -> None:
    assert resolved_winners([[None, *one(90.0, 10.0)]]) == [1]
    assert resolved_winners([[None, *one(90.0)], [], [None, None]]) == [None, None, None]


def test_seeds_that_vary_leave_no_winner() -> None:
    steady, erratic = measured(95.0, 95.2, 95.1), measured(40.0, 60.0, 90.0)
    assert resolved_winners([[steady, erratic]]) == [None]
    assert resolved_winners([[steady, measured(40.0, 41.0, 42.0)]]) == [0]


def test_columns_are_corrected_for_each_other() -> None:
    # 3.9 points of 85 % on 1,000 images: p = 0.0146, which four columns make 0.058.
    close, tied = one(86.9, 83.0), one(85.0, 85.0)
    assert resolved_winners([close]) == [0]
    assert resolved_winners([close, tied, tied]) == [0, None, None]
    assert resolved_winners([close, tied, tied, tied]) == [None] * 4


def test_equal_methods_are_hardly_ever_marked() -> None:
    rng = np.random.default_rng(0)
    marked = 0
    for _ in range(400):
        columns = [one(*rng.binomial(1000, 0.8, 3) / 10) for _ in range(3)]
        marked += any(winner is not None for winner in resolved_winners(columns))
    assert marked / 400 <= 0.06


def cell(method: str, top1: float, **changes: Any) -> dict[str, Any]:
    known = {"model": "resnet20", "weights": "default", "data": "mnist5k", "method": method}
    known |= {"w_bits": 4, "a_bits": 4, "seed": 0, "quant.sites": "relu", "method.images": 16}
    known |= {"status": "done", "top1": top1, "total": 1000, "images": "f", "fp32_top1": 99.0}
    return {**known, "ci_low": 0.0, "ci_high": 100.0, **changes}


def marked(*cells: dict[str, Any]) -> list[tuple[str, int]]:
    """Return method and bits of the marked rows, and check that they are those of the table."""
    frame = pd.DataFrame(cells)
    summary = summarise(frame)
    best = best_rows(frame)
    assert len(best) == len(summary)
    rows = summary[best]
    return list(zip(rows["method"], rows["w_bits"], strict=True))


def test_rows_of_a_table_are_marked_in_their_column() -> None:
    assert marked(
        cell("zeroq", 10.0),
        cell("real", 60.0),
        cell("zeroq", 90.0, w_bits=8, a_bits=8),
        cell("real", 90.2, w_bits=8, a_bits=8),
        cell("zeroq", 97.0, w_bits=6, a_bits=6),
        cell("real", 60.0, w_bits=6, a_bits=6),
    ) == [("real", 4), ("zeroq", 6)]


def test_seeds_of_a_row_count_together() -> None:
    close = [cell("zeroq", 40.0 + 20 * s, seed=s) for s in range(3)]
    assert marked(*close, *(cell("real", 80.0, seed=s) for s in range(3))) == []
    steady = [cell("zeroq", 60.0 + s / 10, seed=s) for s in range(3)]
    assert marked(*steady, *(cell("real", 80.0, seed=s) for s in range(3))) == [("real", 4)]


def test_recipes_and_networks_are_columns_of_their_own() -> None:
    cells = [
        cell(method, top1, **{"quant.sites": sites})
        for sites, worse in (("relu", 60.0), ("all", 10.0))
        for method, top1 in (("zeroq", worse), ("real", worse + 20))
    ]
    assert marked(*cells) == [("real", 4), ("real", 4)]


def test_an_unfinished_column_has_no_best() -> None:
    seeds = [cell("zeroq", 10.0 + s, seed=s) for s in range(3)]
    seeds += [cell("real", 60.0 + s, seed=s) for s in range(2)]
    missing = {"status": "missing", "images": None, "total": np.nan}
    assert marked(*seeds, cell("real", np.nan, seed=2, **missing)) == []
    assert marked(*seeds, cell("real", 62.0, seed=2)) == [("real", 4)]
    assert marked(*seeds[:1], seeds[3], cell("dsg", np.nan, **missing)) == []
    failed = cell("dsg", np.nan, **(missing | {"status": "failed"}))
    assert marked(*seeds[:1], seeds[3], failed) == []
    # A combination that has no meaning will never be there.
    skipped = cell("dsg", np.nan, **(missing | {"status": "skipped"}))
    assert marked(seeds[0], seeds[3], skipped) == [("real", 4)]


def test_other_images_have_no_best() -> None:
    assert marked(cell("zeroq", 10.0), cell("real", 60.0, images="other")) == []
    assert marked(cell("zeroq", 10.0)) == []


def test_marking_imports_no_scipy() -> None:
    code = "import sys, bench.tables.best; print('scipy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
