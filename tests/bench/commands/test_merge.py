import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.result import Result
from bench.files.checksum import sealed
from tests.bench.conftest import FAST, Finished, records

Bench = Callable[..., Finished]
Keep = Callable[..., Result]
A, B = "a" * 16, "b" * 16


@pytest.mark.thorough
def test_two_shards_of_a_sweep_make_the_sweep(
    bench_main: Bench, outputs: Path, tmp_path: Path
) -> None:
    shards = [tmp_path / "one", tmp_path / "two"]
    for seed, shard in enumerate(shards):
        assert bench_main("run", *FAST, f"seed={seed}", f"paths.outputs={shard}").status == 0
    place = f"paths.outputs={outputs}"
    foreseen = bench_main("merge", *shards, place, "--dry-run")
    assert foreseen.out == (
        f"{shards[0]}: 2 copied\n{shards[1]}: 1 copied, 1 already there\n"
        "nothing was written: this is what would be done\n"
    )
    assert not outputs.exists()
    done = bench_main("merge", place, *shards)
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"{shards[0]}: 2 copied, with 1 of the cache\n"
        f"{shards[1]}: 1 copied, 1 already there, with 1 of the cache\n"
    )
    assert records(outputs) == records(shards[1]) | records(shards[0])
    known = bench_main("run", "-m", *FAST, "seed=0,1", place)
    assert known.status == 0
    assert known.out.count("known") == 2
    quantized = next(id for id, r in records(outputs).items() if r["method"] == "gaussian")
    assert "every image as recorded" in bench_main("rerun", quantized, place).out


def test_a_conflict_is_exit_status_1(bench_main: Bench, outputs: Path, keep: Keep) -> None:
    keep(A, [True, False])
    theirs = outputs.rename(outputs.with_name("theirs"))
    keep(A, [False, False])
    done = bench_main("merge", theirs, f"paths.outputs={outputs}")
    assert done.status == 1
    assert done.out.splitlines() == [
        f"conflict: {A} resnet20 mnist5k gaussian W4A8 seed 1: 0.00 % (0/2, top-5 2) in {outputs}"
        f", 50.00 % (1/2, top-5 2) in {theirs}",
        f"{theirs}: 1 in conflict",
    ]


def test_records_of_a_newer_version_are_counted(
    bench_main: Bench, outputs: Path, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    for id in (A, B):
        keep(id, [True])
    theirs = outputs.rename(outputs.with_name("theirs"))
    path = theirs / "cells" / B / "result.json"
    path.write_text(sealed(json.dumps({"schema_version": 99})))
    with caplog.at_level("WARNING", "bench"):
        done = bench_main("merge", theirs, f"paths.outputs={outputs}")
    assert (done.status, done.out) == (0, f"{theirs}: 1 copied, 1 skipped\n")
    assert [f"{path} is of a newer version" in line for line in caplog.messages] == [True]


def test_what_cannot_be_merged(
    bench_main: Bench, outputs: Path, keep: Keep, tmp_path: Path
) -> None:
    keep(A, [True])
    place = f"paths.outputs={outputs}"
    empty = tmp_path / "empty"
    empty.mkdir()
    for folders, line in (
        ([empty], f"there is no folder {empty}/cells; give a folder of results, with cells/"),
        ([outputs], f"{outputs} is the folder to merge into; name another with paths.outputs=DIR"),
        ([place], "bench merge needs a folder to merge; give DIR, such as outputs_of_a"),
    ):
        assert bench_main("merge", *folders, place) == (2, "", f"error: {line}\n")
    (tmp_path / "file").write_text("")
    done = bench_main("merge", outputs, f"paths.outputs={tmp_path}/file")
    assert done.status == 2
    assert done.err.startswith(f"error: cannot copy to {tmp_path}/file: ")
    assert done.err.count("\n") == 1
