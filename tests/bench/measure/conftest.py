"""A network so small that a test may measure many cells of it."""

import sys
from pathlib import Path
from typing import Any

import pytest

_SMALL = '''
import torch
from torch import nn

from models.preprocessing import Preprocessing

preprocessing = Preprocessing(32, 32, "bilinear", (0.1307,) * 3, (0.3081,) * 3)


def small():
    """Three layers of 216, 1,152 and 160 weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
'''


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What of a config says that its cell is of this network of three layers."""
    (tmp_path / "small_network.py").write_text(_SMALL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "small_network", raising=False)
    return {"model": {"name": "small_network:small", "weights": "none"}}
