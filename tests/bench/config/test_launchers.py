"""Launchers: their defaults here, and what is said when one is missing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from bench.config.launchers import lost_by_launcher, missing_launcher, prefer_own_defaults
from tests.bench.conftest import FAST, Finished


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("submitit_slurm", "quantization-bench[slurm]"),
        ("ray", "quantization-bench[ray]"),
        ("joblib", "quantization-bench"),
    ],
)
def test_a_launcher_that_is_not_installed(
    bench_main: Callable[..., Finished],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wanted: str,
) -> None:
    Plugins.instance()
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, f"{name}.yaml", raising=False)
    line = ("-m", *FAST, f"hydra/launcher={name}", "seed=0,1", f"paths.outputs={outputs}")
    done = bench_main("run", *line)
    said = f"error: hydra/launcher={name} is not installed; pip install '{wanted}'\n"
    assert done == (2, "", said)
    assert not outputs.exists()


def test_one_process_a_gpu_or_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ConfigStore.instance()
    for gpus, processes in ((4, 4), (0, -1)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        prefer_own_defaults()
        assert store.load("hydra/launcher/joblib.yaml").node.n_jobs == processes


def test_other_errors_are_not_those_of_launchers() -> None:
    try:
        raise RuntimeError("no launcher was here")
    except RuntimeError as error:
        assert lost_by_launcher(error) is None
        assert missing_launcher(error) is None
