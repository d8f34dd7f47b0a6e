"""The caches: counted, made smaller without taking anything from a running process."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.config.compose import compose
from bench.config.schema import Config, read_config
from bench.files import caches
from bench.files.caches import clean, entries
from bench.files.entry import Usage
from bench.files.kinds import CONTENTS, KINDS
from tests.bench.cells_of import run_cell
from tests.bench.training.test_cache import SMALL

MakeConfig = Callable[..., Config]
A, B, C = (letter * 16 for letter in "abc")
DAY = 86_400.0


@pytest.fixture
def cache(outputs: Path) -> Path:
    return outputs / "cache"


def write(path: Path, size: int, days_old: float = 0.0) -> Path:
    """A file of `size` bytes that was last read or written some days before day 100."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    moment = (100 - days_old) * DAY
    os.utime(path, (moment, moment))
    return path


def filled(cache: Path) -> Path:
    """One entry of each kind, the older the later in the alphabet, and what is none."""
    write(cache / "calibration" / A / "images.safetensors", 1000, 4)
    write(cache / "calibration" / A / "curve.json", 24, 4)
    write(cache / "calibration" / A / "lock", 0, 0)
    write(cache / "data" / ("d" * 64) / "images.npy", 4000, 3)
    write(cache / "data" / f"{'d' * 64}.lock", 0, 0)
    write(cache / "sensitivity" / f"{B}.json", 300, 2)
    write(cache / "training" / C / "trained.safetensors", 2000, 1)
    write(cache / "training" / "notes.txt", 9)
    write(cache / "calibration" / "my images" / "a.png", 9)
    write(cache / "README", 9)
    return cache


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def kinds(usages: list[Usage]) -> list[str]:
    return [usage.entry.kind.name for usage in usages]


def test_entries_with_their_sizes_and_last_use(cache: Path) -> None:
    assert entries(cache) == []
    found = entries(filled(cache))
    assert [(u.entry.kind.name, u.entry.key, u.size_bytes, u.used_at / DAY) for u in found] == [
        ("data", "d" * 64, 4000, 97),
        ("calibration", A, 1024, 96),
        ("sensitivity", B, 300, 98),
        ("training", C, 2000, 99),
    ]


@pytest.mark.parametrize(
    ("limit_bytes", "removed", "left_bytes"),
    [
        (7324, [], 7324),
        (7323, ["calibration"], 6300),
        (6300, ["calibration"], 6300),
        (6299, ["calibration", "data"], 2300),
        (2000, ["calibration", "data", "sensitivity"], 2000),
        (0, ["calibration", "data", "sensitivity", "training"], 0),
    ],
)
def test_the_least_recently_used_go_first(
    cache: Path, limit_bytes: int, removed: list[str], left_bytes: int
) -> None:
    before = files(filled(cache))
    said = clean(cache, limit_bytes, dry_run=True)
    assert files(cache) - before <= {f"sensitivity/{B}.lock", f"training/{C}/lock"}
    done = clean(cache, limit_bytes, dry_run=False)
    assert done == said
    assert (kinds(done.removed), done.held, done.left_bytes) == (removed, [], left_bytes)
    assert sum(usage.size_bytes for usage in entries(cache)) == left_bytes
    foreign = {"README", "training/notes.txt", "calibration/my images/a.png"}
    locks = {f"calibration/{A}/lock", f"data/{'d' * 64}.lock"}
    assert foreign | locks <= files(cache)


def test_an_access_counts_as_use(cache: Path) -> None:
    filled(cache)
    read = cache / "calibration" / A / "images.safetensors"
    os.utime(read, (100 * DAY, 1 * DAY))
    assert kinds(clean(cache, 7323, dry_run=True).removed) == ["data"]


@contextmanager
def elsewhere(code: str, *arguments: Path) -> Iterator[None]:
    """Another process that holds something until it is killed."""
    script = f"import sys, time\n{code}\nprint('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield
        finally:
            process.kill()


def test_what_another_process_makes_stays_until_it_is_killed(cache: Path) -> None:
    filled(cache)
    locks = [usage.entry.lock_path for usage in entries(cache)]
    code = (
        "from filelock import FileLock\n"
        "held = [FileLock(path) for path in sys.argv[1:]]\nfor lock in held: lock.acquire()"
    )
    with elsewhere(code, *locks):
        done = clean(cache, 0, dry_run=False)
        assert (done.removed, len(done.held), done.left_bytes) == ([], 4, 7324)
    assert len(clean(cache, 0, dry_run=False).removed) == 4


def test_images_that_another_process_has_mapped_stay(cache: Path) -> None:
    filled(cache)
    images = cache / "data" / ("d" * 64) / "images.npy"
    np.save(images, np.zeros(500))
    with elsewhere("import numpy; held = numpy.load(sys.argv[1], mmap_mode='r')", images):
        assert kinds(clean(cache, 0, dry_run=False).held) == ["data"]
        assert images.exists()
    assert kinds(clean(cache, 0, dry_run=False).removed) == ["data"]


def test_an_entry_that_is_used_meanwhile_stays(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(cache)
    real = caches.entries

    def used_right_after(folder: Path) -> list[Usage]:
        found = real(folder)
        os.utime(cache / "calibration" / A / "images.safetensors")
        return found

    monkeypatch.setattr(caches, "entries", used_right_after)
    done = clean(cache, 7323, dry_run=False)
    assert (kinds(done.held), kinds(done.removed)) == (["calibration"], ["data"])


def test_a_kill_while_removing_leaves_nothing_that_passes_for_whole(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(cache)
    write(cache / "training" / C / "history.json", 10, 1)

    class Killed(BaseException):
        """Stands for a process that dies."""

    def dying(*_: object) -> None:
        raise Killed

    unlink = Path.unlink

    def once(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok)
        raise Killed

    monkeypatch.setattr("shutil.rmtree", dying)
    monkeypatch.setattr(Path, "unlink", once)
    for _ in range(3):  # one kill for each kind that has several files
        with pytest.raises(Killed):
            clean(cache, 0, dry_run=False)
    monkeypatch.undo()
    assert not (cache / "data" / ("d" * 64)).exists()
    assert not (cache / "calibration" / A / "images.safetensors").exists()
    done = clean(cache, 0, dry_run=False)
    assert done.left_bytes == 0
    assert entries(cache) == []


@pytest.mark.faults
def test_cells_lock_what_is_counted_here_and_make_it_again(
    make_fast: MakeConfig, outputs: Path
) -> None:
    """The layout in this module is that of the modules that write the caches."""
    zeroq = {"name": "zeroq", "images": 4, "iterations": 2}
    mixed = {"w_bits": "mixed", "a_bits": 8, "w_candidates": [2, 8], "mean_bits": 4}
    haq = {"name": "haq", "images": 4, "episodes": 2, "random_episodes": 1, "held_out": 8}
    short = (*SMALL, "method.schedule.epochs=1", "data.subset=20")
    sums = {"w_bits": 4, "a_bits": 32, "w_scheme": "symmetric", "rounding": "bit_split"}
    learned = sums | {"rounding": "adaround", "rounding_iterations": 2}
    training = (*short, "method=individual", "quant=w4a4", f"paths.outputs={outputs}")
    wanted = [
        make_fast({"method": zeroq, "quant": mixed, "data.limit": 20}),
        make_fast({"method": haq, "quant": mixed, "data.limit": 20}),
        make_fast({"method": zeroq, "quant": sums, "data.limit": 20}),
        make_fast({"method": zeroq, "quant": learned, "data.limit": 20}),
        read_config(compose(training)),
    ]
    before = [run_cell(config).result for config in wanted]
    found = entries(outputs / "cache")
    # The digits come with the project: the checksums of no folder are kept.
    assert {*kinds(found), CONTENTS.name} == {kind.name for kind in KINDS}
    assert all(usage.entry.lock_path.is_file() and usage.size_bytes > 0 for usage in found)
    everything = {path for path in (outputs / "cache").rglob("*") if path.is_file()}
    parts = {file for usage in found for part in usage.parts for file in (part, *part.rglob("*"))}
    assert everything - parts == {usage.entry.lock_path for usage in found}

    results = files(outputs / "cells")
    assert clean(outputs / "cache", 0, dry_run=False).left_bytes == 0
    assert files(outputs / "cells") == results
    again = [run_cell(config.model_copy(update={"force": True})).result for config in wanted]
    for one, other in zip(before, again, strict=True):
        assert one is not None and other is not None
        assert (one.status, one.correct) == (other.status, other.correct)
    assert [u.entry for u in entries(outputs / "cache")] == [u.entry for u in found]
