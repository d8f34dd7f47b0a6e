"""Artifacts and their lineage, read back from offline runs with W&B's own reader."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.config.schema import TrackingConfig
from bench.tracking.artifacts import attach, calibration, correctness, lineage, write_table_run
from tests.bench.offline import read_run

KEY = "0" * 16
TRACKING = TrackingConfig(mode="offline", project="bench", tags=["mine"])


@pytest.fixture
def store(outputs: Path) -> Store:
    return Store(outputs)


@pytest.fixture
def cell(store: Store, make_result: Callable[..., Result]) -> Callable[..., Result]:
    """Keep a cell whose calibration images, if any, are kept too."""

    def make(id: str, key: str | None = KEY, **changes: Any) -> Result:
        result = make_result(id, calibration_key=key, **changes)
        with store.writing(id) as folder:
            if result.status == "done":
                (folder / "correct.npz").write_bytes(id.encode())
            write_result(folder, result)
        if key is not None:
            images = store.root / "cache" / "calibration" / key
            images.mkdir(parents=True, exist_ok=True)
            for name in ("images.safetensors", "curve.json", "preview.png", "lock"):
                (images / name).write_text(name)
        return result

    return make


def artifacts(run: Path) -> list[dict[str, Any]]:
    """Return the artifact records of an offline run."""
    found = [json.loads(line) for line in read_run(run, "--json").splitlines()]
    return [record["artifact"] for record in found if record["type"] == "artifact"]


def roles(run: Path) -> list[tuple[str, str, bool]]:
    """Return name, type and whether it is used, not made, of each artifact of a run."""
    return [(a["name"], a["type"], a.get("use_after_commit", False)) for a in artifacts(run)]


def test_what_an_artifact_holds(store: Store, cell: Callable[..., Result]) -> None:
    result = cell("aaaa", method="zeroq", recipe={"evaluation": {"fingerprint": "f"}})
    images, bitmap = calibration(result, store), correctness(result, store)
    assert images is not None and bitmap is not None
    assert images.name == f"calibration-{KEY}"
    assert [f.name for f in images.files] == ["images.safetensors", "curve.json", "preview.png"]
    assert (images.metadata["method"], images.metadata["seed"]) == ("zeroq", 1)
    assert bitmap.name == "correct-aaaa"
    assert [f.name for f in bitmap.files] == ["correct.npz", "result.json"]
    assert bitmap.metadata["fingerprint"] == "f"


def test_what_is_not_there_is_no_artifact(store: Store, cell: Callable[..., Result]) -> None:
    assert calibration(cell("aaaa", key=None), store) is None
    failed = cell("bbbb", status="failed", top1=None)
    assert correctness(failed, store) is None
    assert calibration(failed, store) is not None


@pytest.mark.thorough
def test_the_run_of_a_cell_uses_images_and_makes_a_bitmap(
    store: Store, cell: Callable[..., Result], tmp_path: Path
) -> None:
    result = cell("aaaa")
    settings = wandb.Settings(silent=True, console="off")
    with wandb.init(mode="offline", dir=str(tmp_path), settings=settings) as run:
        attach(run, result, store)
        folder = Path(run.settings.sync_dir)
    assert roles(folder) == [
        (f"calibration-{KEY}", "calibration-images", True),
        ("correct-aaaa", "correctness", False),
    ]
    contents = artifacts(folder)[0]["manifest"]["contents"]
    assert sorted(entry["path"] for entry in contents) == [
        "curve.json",
        "images.safetensors",
        "preview.png",
    ]
    # Nothing is copied: what is uploaded later are the kept files themselves.
    kept = store.root / "cache" / "calibration" / KEY
    assert all(Path(entry["local_path"]).parent == kept for entry in contents)


def test_the_run_of_a_table_uses_the_bitmaps(
    store: Store, cell: Callable[..., Result], tmp_path: Path
) -> None:
    results = [cell("aaaa"), cell("bbbb"), cell("cccc", status="failed", top1=None)]
    table = tmp_path / "demo.md"
    table.write_text("| a |")
    run = write_table_run("demo", results, [table], TRACKING, store)
    assert run.parent == store.root / "wandb"
    assert roles(run) == [
        ("correct-aaaa", "correctness", True),
        ("correct-bbbb", "correctness", True),
        ("table-demo", "table", False),
    ]
    assert [p.name for p in (store.root / "wandb").iterdir()] == [run.name]
    assert list((store.root / "pending").iterdir()) == []


def test_one_content_is_one_artifact(
    store: Store, cell: Callable[..., Result], tmp_path: Path
) -> None:
    """W&B knows an artifact by its digest, so two cells of one method share their images."""
    first, second = cell("aaaa"), cell("bbbb", w_bits=8)
    digests = []
    for result in (first, second):
        settings = wandb.Settings(silent=True, console="off")
        with wandb.init(mode="offline", dir=str(tmp_path), settings=settings) as run:
            attach(run, result, store)
            folder = Path(run.settings.sync_dir)
        digests.append([artifact["digest"] for artifact in artifacts(folder)])
    assert digests[0][0] == digests[1][0]
    assert digests[0][1] != digests[1][1]


def test_lineage_is_what_is_written(store: Store, cell: Callable[..., Result]) -> None:
    results = [cell("aaaa"), cell("bbbb", key=None), cell("cccc", status="failed", top1=None)]
    assert [(run["uses"], run["makes"]) for run in lineage("demo", results, store)] == [
        ([f"calibration-{KEY}"], ["correct-aaaa"]),
        ([], ["correct-bbbb"]),
        ([f"calibration-{KEY}"], []),
        (["correct-aaaa", "correct-bbbb"], ["table-demo"]),
    ]
