import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
A, B = "a" * 16, "b" * 16
MIB = 2**20


@pytest.fixture
def cache(outputs: Path) -> Path:
    """Two calibrations, of 1 and 2 MiB, and a result."""
    cache = outputs / "cache"
    for key, size_bytes, day in ((A, MIB, 20_000), (B, 2 * MIB, 20_001)):
        path = cache / "calibration" / key / "images.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size_bytes))
        noon = (day + 0.5) * 86_400
        os.utime(path, (noon, noon))
    (outputs / "cells" / A).mkdir(parents=True)
    (outputs / "cells" / A / "result.json").write_text("{}")
    return cache


def test_what_there_is(bench_main: Bench, cache: Path, outputs: Path) -> None:
    assert bench_main("cache", "ls", f"paths.outputs={outputs}") == (
        0,
        "contents         0 entries         0.0 MiB\n"
        "data             0 entries         0.0 MiB\n"
        "calibration      2 entries         3.0 MiB\n"
        "grams            0 entries         0.0 MiB\n"
        "rounded          0 entries         0.0 MiB\n"
        "sensitivity      0 entries         0.0 MiB\n"
        "search           0 entries         0.0 MiB\n"
        "training         0 entries         0.0 MiB\n"
        "total            2 entries         3.0 MiB\n",
        "",
    )


def test_the_older_one_goes(bench_main: Bench, cache: Path, outputs: Path) -> None:
    clean = ("cache", "clean", "--max-gb", "0.0025", f"paths.outputs={outputs}")
    foreseen = bench_main(*clean, "--dry-run")
    assert foreseen.out == (
        f"would remove calibration {A}  1.0 MiB, last used 2024-10-04\n"
        "would remove 1 entry, 1.0 MiB; 2.0 MiB left, the limit is 0.0025 GB\n"
    )
    assert (cache / "calibration" / A / "images.safetensors").exists()
    done = bench_main(*clean)
    assert done == (0, foreseen.out.replace("would remove", "removed"), "")
    assert not (cache / "calibration" / A / "images.safetensors").exists()
    assert (cache / "calibration" / B / "images.safetensors").exists()
    assert (outputs / "cells" / A / "result.json").exists()
    again = bench_main(*clean)
    assert again.out == "removed 0 entries, 0.0 MiB; 2.0 MiB left, the limit is 0.0025 GB\n"


def test_what_is_in_use_stays_and_the_limit_is_missed(
    bench_main: Bench, cache: Path, outputs: Path
) -> None:
    from filelock import FileLock

    with FileLock(cache / "calibration" / B / "lock"):
        done = bench_main("cache", "clean", "--max-gb", "0", f"paths.outputs={outputs}")
    assert done.status == 1
    assert done.out.splitlines()[1:] == [
        f"in use, stays: calibration {B}  2.0 MiB",
        "removed 1 entry, 1.0 MiB; 2.0 MiB left, the limit is 0 GB",
    ]


@pytest.mark.parametrize("size", ["-1", "nan", "inf"])
def test_a_size_that_is_none(bench_main: Bench, cache: Path, outputs: Path, size: str) -> None:
    done = bench_main("cache", "clean", f"--max-gb={size}", f"paths.outputs={outputs}")
    assert done == (
        *(2, ""),
        f"error: --max-gb {size} is no size; give 0 or more, in GB (10^9 bytes)\n",
    )


@pytest.mark.parametrize("command", [["ls"], ["clean", "--max-gb", "1"]])
def test_no_such_folder(bench_main: Bench, outputs: Path, command: list[str]) -> None:
    done = bench_main("cache", *command, f"paths.outputs={outputs}")
    assert done == (
        *(2, ""),
        f"error: there is no folder {outputs}/cache; name the folder of results with "
        "paths.outputs=DIR\n",
    )
    assert not outputs.exists()


def test_what_cannot_be_removed(
    bench_main: Bench, cache: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    done = bench_main("cache", "clean", "--max-gb", "0", f"paths.outputs={outputs}")
    assert done == (
        *(2, ""),
        f"error: cannot remove from {cache}: [Errno 13] Permission denied: "
        f"'{cache}/calibration/{A}/images.safetensors'; check the permissions\n",
    )
