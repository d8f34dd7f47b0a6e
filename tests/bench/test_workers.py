"""Two processes that share each batch compute what one does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.config import read_config
from bench.experiments import compose_raw
from bench.run import run_cell
from bench.workers import launch
from models.errors import BenchError


def trained(outputs: Path, processes: int, *overrides: str) -> tuple[Any, dict[str, Tensor]]:
    """Train with so many processes; return the history and the state."""
    given = [
        *("tracking=none", "data.subset=60", "data.limit=20", "method.images=8"),
        *("method.schedule.epochs=2", "runtime.threads=1", f"paths.outputs={outputs}"),
    ]
    config = read_config(compose_raw([*given, f"runtime.processes={processes}", *overrides]))
    result = run_cell(config).result
    assert result is not None and result.status == "done", result
    (folder,) = (outputs / "cache" / "training").iterdir()
    state = load_file(folder / "trained.safetensors")
    return json.loads((folder / "history.json").read_bytes()), state


# A rate that moves the weights little: differences in rounding grow with each step.
FLOAT = ("method=dq", "quant=w8a8", "method.schedule.batch_size=20", "method.schedule.lr=0.001")
# A value that is rounded to the other grid point is no small difference, and causes more of them in
# the layers behind: 4e-4 of the loss at 4 bits. One step an epoch shows the rest.
COQUANT = (
    *("method=coquant", "method.bits=[8,4]", "quant=w4a4"),
    *("method.schedule.batch_size=60", "method.schedule.lr=1e-9"),
)


@pytest.mark.parametrize(
    ("overrides", "norm", "tolerance"),
    [
        (FLOAT, "features.init_block.bn.of_bits.32", 1e-5),
        (COQUANT, "features.init_block.bn.of_bits.4", 1e-3),
    ],
    ids=["float", "coquant"],
)
def test_two_processes_have_the_loss_of_one(
    tmp_path: Path, overrides: tuple[str, ...], norm: str, tolerance: float
) -> None:
    one, of_one = trained(tmp_path / "1", 1, *overrides)
    two, of_two = trained(tmp_path / "2", 2, *overrides)
    losses = [[record.pop("loss") for record in history] for history in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=tolerance)
    assert two == one  # the teachers too
    for what in ("running_mean", "running_var", "weight"):
        name = f"{norm}.{what}"
        assert torch.allclose(of_one[name], of_two[name], rtol=1e-3, atol=1e-4), name


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BenchError, match="processes=2, but 1 GPUs are there; lower it"):
        launch(2, torch.device("cuda"), print)
