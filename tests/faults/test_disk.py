"""A disk that is full or cannot be written costs no result that was there, and no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.conftest import FAST, Finished, assert_nothing_partial, records
from tests.faults.places import mounted
from tests.processes import Process

pytestmark = pytest.mark.faults

Bench = Callable[..., Finished]
LINE = ("method=gaussian", "tracking=none", "data.limit=50", "quant.w_bits=8,4")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_that_cannot_grow(bench_main: Bench, outputs: Path, workplace: Path) -> None:
    """A limit on the size of files: decoded images do not fit, the record of a failure does."""

    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from bench.cli import command; command()"
    )
    line = ["run", *FAST, f"paths.outputs={outputs}"]
    process = Process(["-c", code, *line], workplace)
    out, err = process.communicate()
    assert process.returncode == 1, (out, err)
    assert "Traceback" not in out + err
    assert "cannot keep decoded images in" in out
    assert "File too large" in out
    assert {record["status"] for record in records(outputs).values()} == {"failed"}
    assert_nothing_partial(outputs)
    assert bench_main(*line).status == 0
    assert {record["status"] for record in records(outputs).values()} == {"done"}
    assert_nothing_partial(outputs)


FULL = """
bench run -m $LINE seed=0 "paths.outputs=$1/outputs" > "$2/first.txt" 2>&1
cp -r "$1/outputs" "$2/before"
cat /dev/zero > "$1/filler" 2> "$2/filler.txt" || true
status=0
bench run -m $LINE seed=0,1 "paths.outputs=$1/outputs" > "$2/full.txt" 2>&1 || status=$?
echo $status > "$2/status"
cp -r "$1/outputs" "$2/full"
rm "$1/filler"
bench run -m $LINE seed=0,1 "paths.outputs=$1/outputs" > "$2/last.txt" 2>&1
cp -r "$1/outputs" "$2/after"
"""


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, workplace: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    out.mkdir()
    script = f"LINE='{' '.join(LINE)}'\n{FULL}"
    mounted('mount -t tmpfs -o size=4m none "$1"', script, disk, out)
    assert "No space left" in (out / "filler.txt").read_text()
    assert int((out / "status").read_text()) in (1, 2)
    said = (out / "full.txt").read_text()
    assert "Traceback" not in said and "Logging error" not in said
    assert "No space left on device" in said
    before, full = files(out / "before" / "cells"), files(out / "full" / "cells")
    assert before and before.items() <= full.items()
    after = records(out / "after")
    assert len(after) == 5
    assert {record["status"] for record in after.values()} == {"done"}
    assert before.items() <= files(out / "after" / "cells").items()
    assert_nothing_partial(out / "after")
    assert "4 cells: 2 done, 2 found" in (out / "last.txt").read_text()


READ_ONLY = """
set -- "$1" "$2" "run $LINE" "run $LINE seed=7" "run -m $LINE seed=0,7" "status" "table demo $LINE"
outputs="$1" out="$2"
shift 2
for command in "$@"; do
    status=0
    bench $command "paths.outputs=$outputs" >> "$out/said" 2>&1 || status=$?
    echo "$status" >> "$out/statuses"
done
"""


@pytest.mark.slow
def test_read_only_outputs(
    bench_main: Bench, outputs: Path, tmp_path: Path, workplace: Path
) -> None:
    line = " ".join(FAST)
    assert bench_main("run", *FAST, f"paths.outputs={outputs}").status == 0
    before, out = files(outputs), tmp_path / "out"
    out.mkdir()
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    mounted(mount, f"LINE='{line}'\n{READ_ONLY}", outputs, out)
    said = (out / "said").read_text()
    statuses = (out / "statuses").read_text().split()
    assert "Traceback" not in said, said
    assert [statuses[0], *statuses[3:]] == ["0"] * 3, "what is there can be looked at"
    assert all(status in "12" for status in statuses[1:3]), "nothing new can be kept"
    assert said.count("Read-only file system") >= 2
    assert files(outputs) == before


def test_outputs_where_nothing_can_be_made(bench_main: Bench) -> None:
    """Root may write anywhere but here."""
    done = bench_main("run", *FAST, "paths.outputs=/proc/no-such-place")
    assert done.status == 2
    assert done.err.startswith("error: cannot write results: ")
    assert done.err.count("\n") == 1
