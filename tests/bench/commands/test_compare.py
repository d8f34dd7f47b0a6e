"""`bench compare`: two cells, an experiment, and what is refused."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
ONE_WIDTH = ("quant.w_bits=4", "seed=0")


def bits(both: int, only: int, other: int, neither: int, first: bool) -> list[bool]:
    return [True] * both + [first] * only + [not first] * other + [False] * neither


def test_two_cells(bench_main: Bench, outputs: Path, keep: Callable[..., Result]) -> None:
    keep("aaaa", bits(60, 20, 5, 15, True), method="zeroq")
    keep("bbbb", bits(60, 20, 5, 15, False), method="real")
    done = bench_main("compare", "aa", "bb", f"paths.outputs={outputs}")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["recipe", "differs", "in", "A", "aaaa", "B", "bbbb"]
    assert lines[2].split() == ["method.name", "zeroq", "real"]
    assert lines[4:6] == [
        "A  80.00 % [71.12, 86.66]  80 of 100  resnet20 mnist5k zeroq W4A8 seed 1",
        "B  65.00 % [55.25, 73.64]  65 of 100  resnet20 mnist5k real W4A8 seed 1",
    ]
    assert lines[7].startswith("A - B  +15.00 points [+")
    assert lines[7].endswith("95 % by paired bootstrap over images")
    assert lines[8] == "images that only A has right: 20, only B: 5; exact McNemar p = 0.0041"
    assert lines[9] == "A wins: resolved at 95 %"
    assert lines[11].startswith(
        "100 images of which 25.00 % tell A and B apart resolve 13.84 points"
    )
    assert "(unpaired 17.6" in lines[11]


def test_what_both_have_seen_is_paired(
    bench_main: Bench, outputs: Path, keep: Callable[..., Result]
) -> None:
    right = bits(60, 20, 5, 15, True)
    keep("aaaa", right[:80], method="zeroq", seen=[True] * 80 + [False] * 20)
    keep("bbbb", bits(60, 20, 5, 15, False), method="real")
    lines = bench_main("compare", "aa", "bb", f"paths.outputs={outputs}").out.splitlines()
    assert "80 of 80, of a set of 100  resnet20 mnist5k zeroq" in lines[4]
    assert "65 of 100  resnet20" in lines[5]
    assert lines[6].startswith("paired on the 80 images that both have seen, of 100; ")
    assert lines[8].startswith("A - B  +25.00 points")
    assert lines[9].startswith("images that only A has right: 20, only B: 0")
    found = bench_main("status", f"paths.outputs={outputs}").out
    assert "100.00 % (80/80 of 100)" in found


@pytest.mark.parametrize(
    ("only", "other", "said"),
    [
        (3, 2, "A is ahead, but unresolved: these images do not tell A and B apart"),
        (2, 3, "B is ahead, but unresolved: these images do not tell A and B apart"),
        (3, 3, "a draw"),
        (0, 0, "equal: A and B are right on the same images"),
        (0, 30, "B wins: resolved at 95 %"),
    ],
)
def test_who_wins(
    bench_main: Bench,
    outputs: Path,
    keep: Callable[..., Result],
    only: int,
    other: int,
    said: str,
) -> None:
    for id, first in (("aaaa", True), ("bbbb", False)):
        keep(id, bits(50, only, other, 50, first))
    lines = bench_main("compare", "a", "b", f"paths.outputs={outputs}").out.splitlines()
    assert lines[0] == "the same recipe"
    assert said in lines


def test_other_images_are_refused_in_one_line(
    bench_main: Bench, outputs: Path, keep: Callable[..., Result]
) -> None:
    keep("aaaa", [True, False], images="0" * 64)
    keep("bbbb", [True, False], images="1" * 64)
    assert bench_main("compare", "a", "b", f"paths.outputs={outputs}") == Finished(
        2,
        "",
        "error: cells aaaa and bbbb were measured on different images (000000000000 and "
        "111111111111), so they cannot be compared\n",
    )


def test_a_cell_without_a_number_is_refused(
    bench_main: Bench, outputs: Path, keep: Callable[..., Result]
) -> None:
    keep("aaaa", [True, False])
    keep("bbbb", [True, False], status="failed", reason="out of memory")
    done = bench_main("compare", "a", "b", f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err == "error: cell bbbb has no number: it failed, out of memory\n"
    done = bench_main("compare", "a", "c", f"paths.outputs={outputs}")
    assert done.err.startswith("error: no cell under ")


@pytest.fixture
def demo(outputs: Path, keep: Callable[..., Result]) -> list[str]:
    """Keep the three cells of the demo at 4 bits with one seed; return the overrides."""
    overrides = [*ONE_WIDTH, f"paths.outputs={outputs}"]
    right = {"gaussian": 900, "zeroq": 890, "real": 500}
    for job in experiment_requests("demo", overrides):
        method = job.config.method["name"]
        keep(
            method,
            np.arange(1000) < right[method],
            method=method,
            request_id=job.id,
        )
    return overrides


def test_an_experiment(bench_main: Bench, demo: list[str], tmp_path: Path) -> None:
    done = bench_main("compare", "demo", *demo)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "demo: 3 of 3 pairs of methods are measured, 3 are resolved"
    rows = [re.split("  +", line) for line in lines[-3:]]
    # p = 2 / 2^10 for the first, which is the largest of three and so not corrected any more.
    assert [[*row[1:5], *row[-3:]] for row in rows] == [
        ["gaussian", "zeroq", "1", "90.00, 89.00", "0.0020", "0.0020", "gaussian"],
        ["gaussian", "real", "1", "90.00, 50.00", "<0.0001", "<0.0001", "gaussian"],
        ["zeroq", "real", "1", "89.00, 50.00", "<0.0001", "<0.0001", "zeroq"],
    ]
    differences = [row[5].split(" ")[0] for row in rows]
    assert differences == ["+1.00", "+40.00", "+39.00"]
    file = tmp_path / "pairs.md"
    assert bench_main("compare", "demo", *demo, "--format", "md", "--out", file).status == 0
    table = [line for line in file.read_text().splitlines() if line.startswith("| W4A4")]
    assert [line.split("|")[2].strip() for line in table] == ["gaussian", "gaussian", "zeroq"]


def test_what_was_asked_is_shown_as_given(
    bench_main: Bench, outputs: Path, keep: Callable[..., Result]
) -> None:
    overrides = [*ONE_WIDTH, "quant.first_bits=null,8", "method=real,zeroq"]
    overrides.append(f"paths.outputs={outputs}")
    for job in experiment_requests("demo", overrides):
        name, first = job.config.method["name"], job.config.quant.first_bits
        keep(f"{name}{first}", [True] * 9, method=name, request_id=job.id)
    done = bench_main("compare", "demo", *overrides)
    lines = [re.split("  +", line.strip()) for line in done.out.splitlines()]
    assert lines[-4][:3] == ["first_bits", "bits", "first"]
    assert [line[:3] for line in lines[-2:]] == [
        ["W4A4", "real", "zeroq"],
        ["8", "W4A4", "real"],
    ]


def test_to_a_folder_is_one_line(bench_main: Bench, demo: list[str], tmp_path: Path) -> None:
    assert bench_main("compare", "demo", *demo, "--out", tmp_path) == Finished(
        2, "", f"error: cannot write {tmp_path}: it is a folder; name a file\n"
    )


def test_what_is_not_measured_is_counted(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("compare", "demo", *ONE_WIDTH, f"paths.outputs={outputs}")
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        "demo: 0 of 3 pairs of methods are measured, 0 are resolved; "
        "`bench status --experiment demo` lists what is missing\n"
    )


def test_names_that_mean_nothing(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("compare", "deno", f"paths.outputs={outputs}")
    assert (done.status, done.err) == (
        2,
        "error: unknown experiment 'deno'; did you mean 'demo'?\n",
    )
    done = bench_main("compare", "demo", "method=zeroq", *ONE_WIDTH, f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err.startswith("error: 'demo' has no two methods or quantizers on the same condi")
    done = bench_main("compare", "a", "b", "c", f"paths.outputs={outputs}")
    said = "error: compare takes one experiment or group, or two cells; not 3\n"
    assert done == (2, "", said)
    done = bench_main("compare", "demo", "adhoc", f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err.startswith("error: 'demo' is an experiment; `bench compare demo` compares its ")


def test_a_group(bench_main: Bench, outputs: Path, keep: Callable[..., Result]) -> None:
    place = f"paths.outputs={outputs}"
    for id, method, right in (("a", "zeroq", 20), ("b", "real", 5), ("c", "dsg", 20)):
        asked = {"method": method, "group": "mine" if id != "c" else "other", "request_id": id}
        keep(id * 16, bits(60, right, 5, 35 - right, True), **asked)
    done = bench_main("compare", "mine", place)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "mine: 1 of 1 pairs of methods are measured, 1 are resolved"
    assert re.match(r"W4A8 +zeroq +real +1 +80.00, 65.00 ", lines[-1])
    table = bench_main("table", "mine", place).out
    assert [line.split()[0] for line in table.splitlines()[5:7]] == ["zeroq", "real"]
    assert bench_main("table", "mini", place).err == (
        "error: unknown table 'mini'; did you mean 'mine'?\n"
    )


def test_neither_torch_nor_wandb_is_imported() -> None:
    code = (
        "import sys, bench.commands.compare\n"
        "print(*{'torch', 'torchvision', 'wandb', 'timm'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
