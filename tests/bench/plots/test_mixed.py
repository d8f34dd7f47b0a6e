"""The picture of a choice of bits can be drawn whatever was chosen from."""

import warnings
from pathlib import Path
from typing import Any

import pytest

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
