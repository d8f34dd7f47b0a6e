"""A value is read once: config -> request -> cell -> measurement."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bench.cells.request
from bench.config.schema import Config
from bench.data.listings import Listings
from bench.measure.resources import Resources
from models.quantize.spec import QuantSpec
from tests.bench.cells_of import run_cell
from tests.bench.conftest import FAST, Finished


class Counts:
    """How often a cell was planned, requested, and its quantizer made of plain values."""

    def __init__(self) -> None:
        self.planned = self.requested = self.quantizers = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    counts = Counts()
    of, choose, make = Listings.of, bench.cells.request.choose_weights, QuantSpec.__post_init__

    # Who plans a cell lists its evaluation set, and who requests one looks up its weights.
    def listed(self: Listings, data: Any, side: Any, cache: Path) -> Any:
        counts.planned += side == "eval"
        return of(self, data, side, cache)

    def chosen(*args: Any) -> Any:
        counts.requested += 1
        return choose(*args)

    def made(self: QuantSpec) -> None:
        counts.quantizers += 1
        make(self)

    monkeypatch.setattr(Listings, "of", listed)
    monkeypatch.setattr(bench.cells.request, "choose_weights", chosen)
    monkeypatch.setattr(QuantSpec, "__post_init__", made)
    yield counts


def test_a_measured_cell(make_fast: Callable[..., Config], counts: Counts) -> None:
    config = make_fast({"quant.w_bits": 5, "quant.a_bits": 7})
    # The quantizer as it was given; what has an effect of it, and the float one, are derived.
    assert counts.quantizers == 1
    assert run_cell(config, Resources()).kind == "measured"
    # Its float cell has been measured on the way, and was not planned anew.
    assert (counts.planned, counts.requested) == (1, 1)


def test_a_found_cell(make_fast: Callable[..., Config], counts: Counts) -> None:
    run_cell(make_fast())
    counts.planned = counts.requested = 0
    assert run_cell(make_fast()).kind == "found"
    assert (counts.planned, counts.requested) == (1, 1)


def test_a_dry_run(bench_main: Callable[..., Finished], outputs: Path, counts: Counts) -> None:
    words = ("run", "-m", *FAST, "quant.w_bits=8,4,3", f"paths.outputs={outputs}", "--dry-run")
    assert bench_main(*words).out.startswith("3 cells: 0 done, 3 to measure")
    assert (counts.planned, counts.requested) == (3, 3)


def test_a_table(bench_main: Callable[..., Finished], outputs: Path, counts: Counts) -> None:
    assert bench_main("table", "demo", f"paths.outputs={outputs}").status == 0
    assert (counts.planned, counts.requested) == (0, 27)


def test_a_papers_table(bench_main: Callable[..., Finished], outputs: Path, counts: Counts) -> None:
    words = ("table", "dsg_resnet18", "data.root=/images", f"paths.outputs={outputs}")
    assert bench_main(*words).status == 0
    assert (counts.planned, counts.requested) == (0, 39)
