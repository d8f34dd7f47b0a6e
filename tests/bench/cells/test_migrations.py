"""Files of the first version stay readable, and count as they did."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.cells.merge import merge
from bench.cells.migrations import SCHEMA_VERSION, STEPS, migrated
from bench.cells.result import Result
from bench.cells.result_file import Damaged, read_result
from bench.cells.store import Store
from bench.files.checksum import sealed
from bench.tracking.result_copy import read_copy
from tests.bench.conftest import Finished
from tests.conftest import GOLDEN

FIRST = GOLDEN / "results_v1"
FLOAT, REAL = "9e57428e91b4e7c2", "0027c34b8999a36a"


@pytest.fixture
def store(outputs: Path) -> Store:
    shutil.copytree(FIRST, outputs / "cells")
    return Store(outputs)


def test_there_is_a_step_from_every_earlier_version() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))
    assert Result.model_fields["schema_version"].default == SCHEMA_VERSION


@pytest.mark.parametrize("id", [FLOAT, REAL])
def test_every_key_of_the_first_version_keeps_its_value(store: Store, id: str) -> None:
    written: dict[str, Any] = json.loads((FIRST / id / "result.json").read_bytes())
    assert written.pop("schema_version") == 1
    result = store.read(id)
    assert result is not None
    read = result.model_dump(mode="json")
    assert {key: read.pop(key) for key in written} == written
    assert read == {
        **{"schema_version": 3, "left_out": 0, "correct_sha256": None, "checksum": None},
        **{"warnings": [], "quantized_weights": None},
        **{"quantized_multiplications": None, "quantized_inputs": None},
        **{"activations_mb": None, "largest_activation_mb": None, "macs": None},
        **{"mac_bits": None, "bops": None, "bops_percent": None, "logit_mse": None},
        **{"mean_bits": None, "mean_activation_bits": None, "bops_with_additions": None},
        **{"size_with_scales_mb": None, "latency_ms": None, "lost": None, "gained": None},
    }


def test_they_are_counted_and_their_bitmaps_read(store: Store) -> None:
    found = store.inventory()
    assert [result.id for result in found.results] == [REAL, FLOAT]
    assert found.left_out == []
    for id, correct, top5 in ((FLOAT, 990, 1000), (REAL, 687, 893)):
        assert store.finished(id) == store.read(id)
        right = store.items(id)
        assert (int(right.top1.sum()), int(right.top5.sum())) == (correct, top5)


def test_a_migration_changes_nothing_it_is_given() -> None:
    record = {"schema_version": 1, "id": "a"}
    assert migrated(record)["schema_version"] == 3
    assert record == {"schema_version": 1, "id": "a"}
    for other in ({}, {"schema_version": "1"}, {"schema_version": 99}, {"schema_version": 3}):
        assert migrated(other) == other


def test_the_file_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    before = (FIRST / REAL / "result.json").read_bytes()
    other = Store(tmp_path / "other")
    (done,) = merge([store], other, dry_run=False)
    assert done.counts == {"copied": 2, "skipped": 0}
    for place in (store, other):
        assert (place.folder(REAL) / "result.json").read_bytes() == before


def test_a_first_version_with_a_checksum_is_none(store: Store) -> None:
    """What was written with a checksum cannot pass for a file from before there were any."""
    from bench.cells.result_file import write_result

    result = store.read(REAL)
    assert result is not None
    write_result(store.folder(REAL), result)
    path = store.folder(REAL) / "result.json"
    text = path.read_text().replace('"schema_version": 3', '"schema_version": 1')
    path.write_text(text)
    with pytest.raises(Damaged, match="was altered: its checksum does not fit"):
        read_result(str(path))


def test_a_second_version_is_read_with_its_checksum_and_not_without(store: Store) -> None:
    path = store.folder(REAL) / "result.json"
    second = json.loads(path.read_bytes()) | {"schema_version": 2, "left_out": 3}
    second["correct_sha256"] = None
    path.write_text(sealed(json.dumps(second)))
    found = read_result(str(path))
    assert (found.schema_version, found.left_out, found.warnings) == (3, 3, [])
    path.write_text(json.dumps(second))
    with pytest.raises(Damaged, match="was altered: its checksum is gone"):
        read_result(str(path))


def test_a_run_of_the_first_version_is_read() -> None:
    text = (FIRST / REAL / "result.json").read_text()
    found = read_copy({"record": json.dumps(json.loads(text))}, {})
    assert (found.id, found.top1, found.schema_version) == (REAL, 68.7, 3)


def test_commands_read_them(store: Store, bench_main: Any) -> None:
    place = f"paths.outputs={store.root}"
    done: Finished = bench_main("status", place)
    assert done.status == 0, done
    assert "not counted" not in done.out + done.err
    one = bench_main("recipe", REAL, place)
    assert (one.status, one.err) == (0, "")
    assert "fingerprint" in one.out
