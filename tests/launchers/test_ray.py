"""Sweeps on a real Ray cluster of two nodes, started for these tests: `make test-ray`."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import FAST, records
from tests.launchers.sweeps import Sweep, assert_each_cell_once
from tests.waiting import wait_until

pytestmark = pytest.mark.ray

RAY = ("hydra/launcher=ray",)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, for Ray's sockets and for the token that it keeps at home."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each, on loopback; for 127.0.0.1 Ray would take the outer address."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray notes the address of the last cluster there, and makes no folder for it.
    monkeypatch.setenv("RAY_TMPDIR", str(home))
    (home / "ray").mkdir()
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        pytest.fail("Ray is not installed; pip install 'quantization-bench[ray]'", pytrace=False)
    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80_000_000}
    head = {"node_ip_address": "127.0.0.2", "include_dashboard": False, "temp_dir": str(home / "t")}
    made = Cluster(initialize_head=True, head_node_args=node | head)
    try:
        made.second = made.add_node(**node, node_ip_address="127.0.0.3")  # type: ignore[attr-defined]
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def environment(cluster: Any) -> dict[str, str]:
    return os.environ | {"RAY_ADDRESS": cluster.address}


def test_a_node_dies_in_the_middle_of_a_sweep(cluster: Any, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    line = (
        *("method=gaussian,real", "quant.w_bits=8,4,3", "seed=0,1", "data.limit=500"),
        *("method.images=16", "tracking=wandb_offline"),
    )
    with Sweep(outputs, tmp_path, environment(cluster), *RAY, *line) as sweep:
        wait_until(lambda: len(sweep.entries()) >= 3, "three cells are done")
        before = len(sweep.entries())
        cluster.remove_node(cluster.second, allow_graceful=False)
        status, out = sweep.end(400)
    assert status == 0, out
    assert before < 12
    assert any(line.startswith("12 cells: ") for line in out.splitlines()), out
    assert {entry["status"] for entry in sweep.entries()} <= {"done", "found"}
    assert len({entry["id"] for entry in sweep.entries()}) == 12
    assert_each_cell_once(outputs, 12)


def test_a_cell_that_is_refused_fails_the_sweep(cluster: Any, tmp_path: Path) -> None:
    # The outputs are named as seen from where the command is typed.
    line = (*RAY, *FAST, "quant.w_bits=8,17")
    with Sweep(Path("outputs"), tmp_path, environment(cluster), *line) as sweep:
        status, out = sweep.end(200)
    assert status == 1, out
    assert "2 cells: 1 done, 1 refused" in out.splitlines()
    found = records(tmp_path / "outputs")
    assert Counter(record["w_bits"] for record in found.values()) == {8: 1, 32: 1}
