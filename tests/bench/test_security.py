"""Files that would run code are refused unrun, and a key of W&B stays in the environment."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.config.compose import compose
from bench.config.schema import Config
from bench.files.checksum import CHECKSUMS, checksums
from bench.training.checkpoint import OnDisk
from models.errors import BenchError
from tests.bench.cells_of import run_cell
from tests.bench.conftest import FAST, Finished, records

KEY = "feedface" * 5


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


def raw(path: Path, trap: Trap) -> None:
    path.write_bytes(pickle.dumps({"weight": trap}, protocol=2))


def saved(path: Path, trap: Trap) -> None:
    torch.save({"weight": trap}, path)


def saved_long_ago(path: Path, trap: Trap) -> None:
    torch.save({"weight": trap}, path, _use_new_zipfile_serialization=False)


def altered(path: Path, trap: Trap) -> None:
    """A good checkpoint whose pickle was replaced."""
    torch.save({"weight": torch.ones(1)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(
                name, pickle.dumps(trap, protocol=2) if name.endswith("data.pkl") else data
            )


WRITERS = [raw, saved, saved_long_ago, altered]
Writer = Callable[[Path, Trap], None]


@pytest.mark.parametrize("write", WRITERS)
def test_the_trap_works_where_it_is_not_refused(
    write: Writer, tmp_path: Path, sprung: Path
) -> None:
    write(tmp_path / "file.pt", Trap(sprung))
    if write is raw:
        pickle.loads((tmp_path / "file.pt").read_bytes())
    else:
        torch.load(tmp_path / "file.pt", weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["network.pth", "network.safetensors"])
def test_weights_that_would_run_code(
    write: Writer, name: str, make_fast: Callable[..., Config], tmp_path: Path, sprung: Path
) -> None:
    path = tmp_path / name
    write(path, Trap(sprung))
    result = run_cell(make_fast({"model.weights": str(path)})).result
    assert result is not None and result.reason is not None
    assert result.status == "failed"
    assert f"cannot read weights from {path}: " in result.reason
    assert not sprung.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_a_checkpoint_of_a_training_that_would_run_code(
    write: Writer, tmp_path: Path, sprung: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    write(path, Trap(sprung))
    with pytest.raises(BenchError) as error:
        OnDisk(path).load()
    assert str(error.value) == (
        f"cannot read the checkpoint {path}: UnpicklingError; remove it to train from the start"
    )
    assert not sprung.exists()


def in_its_own_format(path: Path, trap: Trap) -> None:
    """As numpy and torch write Python objects into their files; JSON and the rest: as a pickle."""
    objects = np.array([trap], dtype=object)
    if path.suffix == ".npy":
        np.save(path, objects, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, top1=objects, top5=objects, total=objects)
    elif path.suffix in (".safetensors", ".pt"):
        saved(path, trap)
    else:
        raw(path, trap)


def cells(make_config: Callable[..., Config]) -> list[Config]:
    """Return cells that fill every cache: with mixed bits, Gram matrices, and a training."""

    def cell(*overrides: str) -> Config:
        plain = compose(overrides)
        changes = {name: plain[name] for name in ("data", "method", "quant")}
        return make_config(changes | {"force": True})

    small = ("data.limit=10", "data.subset=20")
    return [
        cell(*small, "method=real", "method.images=4", "quant=mixed", "quant.mean_bits=4",
             "quant.w_candidates=[2,8]"),
        cell(*small, "method=real", "method.images=4", "quant=w4a32", "quant.w_scheme=symmetric",
             "quant.rounding=bit_split", "quant.rounding_epochs=1"),
        cell(*small, "method=dq", "method.images=4", "method.schedule.epochs=1", "quant=w8a8",
             "method.schedule.batch_size=20"),
    ]  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize(("write", "sealed"), [(raw, False), (in_its_own_format, True)])
def test_no_cache_and_no_result_runs_code(
    write: Writer, sealed: bool, make_config: Callable[..., Config], outputs: Path, sprung: Path
) -> None:
    """Each file that is kept, replaced by a trap; sealed: with checksums that fit it."""
    before = [run_cell(config).result for config in cells(make_config)]
    kept = [path for path in outputs.rglob("*") if path.is_file() and path.stat().st_size]
    assert {path.relative_to(outputs).parts[1] for path in kept if "cache" in path.parts} == {
        *("data", "calibration", "grams", "sensitivity", "training")
    }
    assert {".npy", ".npz", ".safetensors", ".json", ".png"} <= {path.suffix for path in kept}
    for path in kept:
        if path.name == CHECKSUMS:
            path.unlink()
        elif path.parent.parent.name != "cells" or path.suffix == ".npz":
            write(path, Trap(sprung))
    for folder in {path.parent for path in kept if path.name == CHECKSUMS}:
        files = {path.name: path for path in folder.iterdir() if path.stat().st_size}
        if sealed:
            (folder / CHECKSUMS).write_text(checksums(files))
    after = [run_cell(config).result for config in cells(make_config)]
    assert not sprung.exists()
    for first, second in zip(before, after, strict=True):
        assert first is not None and second is not None
        assert (first.status, second.status) == ("done", "done"), second.reason
        assert first.correct == second.correct


@pytest.mark.parametrize("write", [raw, in_its_own_format])
def test_a_bitmap_that_would_run_code(
    write: Writer, make_fast: Callable[..., Config], outputs: Path, sprung: Path
) -> None:
    """Even where its sum and that of its record were made to fit."""
    id = run_cell(make_fast()).id
    folder = outputs / "cells" / id
    result = Store(outputs).read(id)
    assert result is not None
    write(folder / "correct.npz", Trap(sprung))
    write_result(folder, result)
    with pytest.raises(BenchError, match="cannot read"):
        Store(outputs).items(id)
    assert not sprung.exists()


def test_a_key_is_in_no_file_and_on_no_terminal(
    bench_main: Callable[..., Finished],
    outputs: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a sweep with a cell that fails, with its traceback; W&B's own files: test_tracking."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    images = "method.images=8,1000000000000"
    done = bench_main("run", "-m", *FAST, images, f"paths.outputs={outputs}")
    found = records(outputs).values()
    assert sorted(record["status"] for record in found) == ["done", "done", "failed"]
    assert any(record["traceback"] for record in found)
    assert done.status == 1
    written = [path for folder in (outputs, workplace) for path in folder.rglob("*")]
    read = {path: path.read_bytes() for path in written if path.is_file()}
    assert {"log.txt", "result.json", "config.yaml"} <= {path.name for path in read}
    assert [path for path, data in read.items() if KEY.encode() in data] == []
    assert KEY not in done.out + done.err
