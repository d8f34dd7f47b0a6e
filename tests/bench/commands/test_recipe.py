"""`bench recipe`: cards and differences."""

from collections.abc import Callable
from pathlib import Path

from bench.commands.recipe import differing_rows, flat
from bench.config.schema import Config
from tests.bench.cells_of import run_cell
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
Make = Callable[..., Config]


def test_flat_and_differing_rows_by_hand() -> None:
    first = flat({"a": 1, "b": {"c": None, "d": [1, 2]}})
    assert first == {"a": "1", "b.c": "None", "b.d": "[1, 2]"}
    assert differing_rows(first, flat({"a": 1, "b": {"c": 2}, "e": 0})) == [
        ("b.c", "None", "2"),
        ("b.d", "[1, 2]", "-"),
        ("e", "-", "0"),
    ]


def test_two_presets(bench_main: Bench) -> None:
    done = bench_main("recipe", "zeroq_release", "dsg_release")
    assert (done.status, done.err) == (1, "")
    assert done.out.split() == ["zeroq_release", "dsg_release", "a_range", "minmax", "ema"]
    same = bench_main("recipe", "deploy", "deploy")
    assert same == Finished(0, "the same recipe\n", "")


def test_the_card_of_a_cell(bench_main: Bench, make_fast: Make, outputs: Path) -> None:
    cell = run_cell(make_fast())
    done = bench_main("recipe", cell.id[:8], f"paths.outputs={outputs}")
    assert done.status == 0
    rows = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert rows["quantizer.sites"] == "relu"
    assert rows["method.name"] == "gaussian"
    assert len(rows["weights.sha256"]) == 64


def test_neither_preset_nor_cell(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("recipe", "nothing", f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err.startswith("error: no cell under ") and done.err.count("\n") == 1


def test_an_empty_id_is_no_cell(bench_main: Bench, outputs: Path) -> None:
    for ids in ([""], ["deploy", ""], ["", "deploy"]):
        done = bench_main("recipe", *ids, f"paths.outputs={outputs}")
        assert (done.status, done.out) == (2, "")
        assert done.err == (
            f"error: no cell under {outputs / 'cells'} with an id that starts with ''; "
            "`bench status` lists them\n"
        )
