from pathlib import Path

import numpy as np
import pytest
import torch

from bench.statistics.average_precision import Truth
from bench.training.detector import train_detector
from bench.training.from_scratch import save_weights
from methods.training.schedule import Schedule
from models.errors import BenchError
from models.networks.fpn_detector import FpnDetector
from models.zoo import entry

PREPROCESSING = entry("fpn_detector").preprocessing
QUICK = Schedule(epochs=1, batch_size=4, optimizer="adam", lr=2e-3, augment="none")


def squares(count: int) -> tuple[np.ndarray, list[Truth]]:
    """Images of one bright square each, and a crowd that is none of the targets."""
    rng = np.random.default_rng(0)
    images = np.zeros((count, 3, 96, 96), np.uint8)
    truths = []
    for image in images:
        left, top = rng.integers(0, 72, 2)
        image[:, top : top + 24, left : left + 24] = 255
        boxes = np.array([[left, top, 24, 24], [0, 0, 96, 96]], np.float32)
        areas = boxes[:, 2] * boxes[:, 3]
        truths.append(Truth(boxes, np.array([1, 1]), np.array([False, True]), areas))
    return images, truths


def test_one_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    images, truths = squares(8)
    given = FpnDetector(1)
    before = {key: value.clone() for key, value in given.state_dict().items()}
    shas = []
    for run, seed in enumerate((3, 3, 4)):
        torch.manual_seed(run)
        network = train_detector(given, images, truths, PREPROCESSING, QUICK, seed)
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        shas.append(save_weights(network, tmp_path / f"{run}.safetensors"))
    assert shas[0] == shas[1] != shas[2]
    assert all(torch.equal(value, before[key]) for key, value in given.state_dict().items())


@pytest.mark.thorough
def test_a_square_is_found() -> None:
    images, truths = squares(64)
    losses: list[float] = []

    def progress(done: int, total: int, loss: float | None = None) -> None:
        losses.extend([] if loss is None else [loss])

    schedule = Schedule(epochs=5, batch_size=8, optimizer="adam", lr=4e-3, augment="none")
    network = train_detector(FpnDetector(1), images, truths, PREPROCESSING, schedule, 0, progress)
    assert len(losses) == 5 and losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        found = network(PREPROCESSING.normalise(torch.from_numpy(images[:8])))
    for of_image, truth in zip(found, truths, strict=False):
        left, top, right, bottom = of_image["boxes"][0].tolist()
        assert (left, top) == pytest.approx(truth.boxes[0, :2].tolist(), abs=8)
        assert (right - left, bottom - top) == pytest.approx((24, 24), abs=8)


def test_what_does_not_fit_is_one_line() -> None:
    images, truths = squares(8)
    network = FpnDetector(1)
    with pytest.raises(BenchError, match=r"^8 images have boxes and 7 are there"):
        train_detector(network, images[:7], truths, PREPROCESSING, QUICK, 0)
    with pytest.raises(BenchError, match=r"^training images are float64 of shape \(8, 3, 96, 96\)"):
        train_detector(network, images.astype(float), truths, PREPROCESSING, QUICK, 0)
    with pytest.raises(BenchError, match=r"^train\.augment=affine moves images and not their box"):
        train_detector(network, images, truths, PREPROCESSING, Schedule(), 0)
