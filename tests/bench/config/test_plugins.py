"""A user's own method is an option like any other."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from bench.config.compose import compose
from bench.config.plugins import default_config, register_own
from bench.config.schema import read_config
from methods.registry import make_method
from models.errors import BenchError
from tests.bench.conftest import start_bench
from tests.methods.documentation import blocks

PATH = "smooth_noise:SmoothNoise"


@pytest.fixture(autouse=True)
def _no_method_stays_registered() -> Iterator[None]:
    # Only the method group: Hydra's own plugins register in the same store, once a process.
    repo = ConfigStore.instance().repo
    before = dict(repo.get("method", {}))
    yield
    repo["method"] = before


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path that holds the method of docs/add_a_method.md."""
    (tmp_path / "smooth_noise.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "smooth_noise", raising=False)
    importlib.invalidate_caches()
    return tmp_path


def method_config(*overrides: str) -> dict[str, object]:
    return read_config(compose([*overrides, "tracking=none"])).method


def test_default_config(folder: Path) -> None:
    assert default_config(PATH) == {"name": PATH, "images": 64, "coarse": 4}
    zeroq = default_config("zeroq")
    assert (zeroq["name"], zeroq["variant"], zeroq["epsilon"]) == ("zeroq", "release", 1e-6)


def test_by_module_path(folder: Path) -> None:
    config = method_config(f"method={PATH}", "method.coarse=2")
    assert config == {"name": PATH, "images": 64, "coarse": 2}
    made = make_method(config)
    assert (made.name, made.images) == ("smooth_noise", 64)


def test_in_a_sweep(folder: Path) -> None:
    register_own(["-m", f"method=gaussian,{PATH}", "seed=0,1"])
    assert method_config(f"method={PATH}")["name"] == PATH
    assert method_config("method=gaussian") == {"name": "gaussian", "images": 64}


def test_without_its_place_or_an_entry_point_it_is_unknown(folder: Path) -> None:
    with pytest.raises(BenchError, match="unknown method 'smooth_noise'"):
        method_config("method=smooth_noise")


def test_by_entry_point(folder: Path) -> None:
    info = folder / "smooth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: smooth\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[quantization_bench.methods]\nsmooth_noise = {PATH}\n")
    importlib.invalidate_caches()
    config = method_config("method=smooth_noise")
    assert config == {"name": "smooth_noise", "images": 64, "coarse": 4}
    assert make_method(config).name == "smooth_noise"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:X", "cannot import 'no_such_module:X'"),
        ("smooth_noise:Smooth", "'smooth_noise' has no 'Smooth'; did you mean 'SmoothNoise'"),
        ("smooth_noise:torch", "not a subclass of methods.base.Method"),
    ],
)
def test_what_cannot_be_registered(folder: Path, path: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        register_own([f"method={path}"])


@pytest.mark.thorough
def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "smooth_noise.py").write_text(blocks("python")[0])
    outputs = tmp_path / "results"
    line = ("tracking=none", "data.limit=50", f"paths.outputs={outputs}")
    process = start_bench("run", f"method={PATH}", "method.coarse=3", *line, cwd=tmp_path)
    _, err = process.communicate()
    assert process.returncode == 0, err
    records = [json.loads(path.read_text()) for path in outputs.glob("cells/*/result.json")]
    (record,) = [record for record in records if record["method"] != "float"]
    assert (record["method"], record["status"], record["total"]) == ("smooth_noise", "done", 50)
    assert record["recipe"]["method"]["coarse"] == 3
    assert record["recipe"]["calibration"] == {"images": 64}
