from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import Config
from bench.measure.facts import portable

Make = Callable[..., Config]


def test_a_record_means_the_same_from_any_folder(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    plain = portable(make_config({"data.root": "photos", "model.weights": "w.safetensors"}))
    assert plain["data"]["root"] == str(tmp_path / "photos")
    assert plain["model"]["weights"] == str(tmp_path / "w.safetensors")
    assert portable(make_config())["model"]["weights"] == "default"
