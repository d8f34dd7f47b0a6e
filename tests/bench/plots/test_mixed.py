"""The picture of a choice of bits can be drawn whatever was chosen from."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.plots.mixed import plot_mixed


@pytest.mark.parametrize(
    "layers",
    [
        [{"layer": "a", "bits": 4, "sensitivity": {4: 0.0, 8: 0.0}}],
        [{"layer": "a", "bits": 8, "sensitivity": None}],
        [{"layer": str(i), "bits": 4, "sensitivity": {4: 0.1, 8: 0.01}} for i in range(20)],
    ],
)
@pytest.mark.parametrize("cost", [0.0, 0.5])
def test_nothing_is_warned_of(layers: list[dict[str, Any]], cost: float, tmp_path: Path) -> None:
    choice = {"size_mb": 1.0, "cost": cost, "frontier": [[1.0, cost]], "layers": layers}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_mixed(choice, tmp_path / "mixed.png")
    assert (tmp_path / "mixed.png").stat().st_size > 5_000


@pytest.mark.parametrize("count", [1, 30])
def test_bits_without_a_search_are_bars(count: int, tmp_path: Path) -> None:
    layers: list[dict[str, Any]] = [{"layer": "a", "bits": 2.5, "channel_bits": [2, 3]}]
    layers += [{"layer": str(i), "bits": 4, "input_bits": 32 if i % 2 else 5} for i in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_mixed({"layers": layers}, tmp_path / "mixed.png")
    pixels = np.asarray(Image.open(tmp_path / "mixed.png").convert("RGB")).astype(int)
    coloured = (pixels.max(axis=2) - pixels.min(axis=2)) > 40
    assert coloured.mean() > 0.05
