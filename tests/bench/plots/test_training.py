"""The picture of a training: every panel of it shows something, however short the training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.plots.training import curve_points, plot_training


def epochs(count: int) -> list[dict[str, Any]]:
    teachers = {"4": {"8": 30, "6": 10}, "2": {"8": 0, "6": 0, "4": 0}}
    schedules = {"lambda": 0.5, "keep": [0.9, 0.8, 0.7]}
    return [{"epoch": i + 1, "loss": 2.0, "teachers": teachers, **schedules} for i in range(count)]


def coloured(path: Path, panels: int) -> list[int]:
    """Return how many pixels of each panel's middle are neither white, grey nor black."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    colour = (pixels.max(axis=2) - pixels.min(axis=2)) > 40
    inside = colour[int(0.15 * len(colour)) : int(0.8 * len(colour))]
    return [int(part.sum()) for part in np.array_split(inside, panels, axis=1)]


@pytest.mark.parametrize("count", [1, 2, 40])
def test_no_panel_is_blank(count: int, tmp_path: Path) -> None:
    path = tmp_path / "training.png"
    plot_training(epochs(count), path)
    loss, teachers, without, schedules = coloured(path, panels=4)
    assert loss > 10
    assert teachers > 30_000  # both shares fill their panel
    assert without < teachers / 10  # of no step at all there is the legend only
    assert schedules > 10


def test_a_training_without_teachers_is_its_loss(tmp_path: Path) -> None:
    path = tmp_path / "training.png"
    plot_training([{"epoch": 1, "loss": 0.5}], path)
    assert coloured(path, panels=1)[0] > 10


def test_curves_have_their_place_in_the_epochs_and_a_panel_each(tmp_path: Path) -> None:
    epochs: list[dict[str, Any]] = [
        {"epoch": 1, "loss": 2.0},
        {"epoch": 2, "loss": 1.0, "curves": {"size": [4.0, 3.0]}, "targets": {"size": 3.5}},
        {"epoch": 3, "loss": 1.0, "curves": {"size": [2.0], "gate": [0.5, 0.6]}},
    ]
    points = {"size": [(1.5, 4.0), (2.0, 3.0), (3.0, 2.0)], "gate": [(2.5, 0.5), (3.0, 0.6)]}
    assert curve_points(epochs) == points
    path = tmp_path / "training.png"
    plot_training(epochs, path)
    assert all(pixels > 10 for pixels in coloured(path, panels=3))


def test_curves_that_are_called_alike_share_a_panel(tmp_path: Path) -> None:
    curves = {"gates/4 bits": [0.9, 0.9], "gates/8 bits": [0.1, 0.1], "prior": [3.0, 2.0]}
    path = tmp_path / "training.png"
    plot_training([{"epoch": 1, "loss": 2.0, "curves": curves}], path)
    assert all(pixels > 10 for pixels in coloured(path, panels=3))
