"""Images on their way to the device: the right ones, laid out well, and not all in memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import ImageSet
from bench.data import feed as module
from bench.data.feed import ResidentImages, feed, feed_training, fits_on
from bench.data.imageset import Checks
from bench.files.entry import CacheEntry
from bench.files.kinds import DATA
from bench.speed.evaluation import synthetic

CPU = torch.device("cpu")
NOWHERE = CacheEntry(Path("nowhere"), DATA, "0" * 64)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Seven images of 4 pixels a side in a file; every byte is another one than its neighbours."""
    empty = synthetic(7, 4, tmp_path)
    values = np.arange(7 * 4 * 4 * 3, dtype=np.uint32).astype(np.uint8).reshape(7, 4, 4, 3)
    np.save(tmp_path / "images.npy", values)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r").transpose(0, 3, 1, 2)
    return ImageSet(empty.listing, mapped)


def decoded(images: ImageSet, file: int) -> ImageSet:
    """The set as if it came from the cache, out of the file of that number."""
    right = np.ones(len(images), dtype=bool)
    checks = Checks(NOWHERE, (0, file, 0), np.zeros(len(images), np.uint32), right)
    return ImageSet(images.listing, images.images, checks)


def test_images_come_as_they_are_channels_last(images: ImageSet) -> None:
    got = feed(images, CPU, ResidentImages()).pixels(2, 5)
    assert got.shape == (3, 3, 4, 4)
    assert got.dtype == torch.uint8
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(got.numpy(), images.images[2:5])
    # Read again after its pages were given back.
    assert np.array_equal(feed(images, CPU, ResidentImages()).pixels(0, 7).numpy(), images.images)


def test_a_set_that_fits_stays_on_the_device(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = ResidentImages()
    monkeypatch.setattr(module, "_UPLOAD", 3)
    monkeypatch.setattr(module, "free_bytes", lambda device: 2 * 7 * 48)
    kept = resident.pixels(decoded(images, 1), CPU)
    assert kept is not None
    assert kept.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(kept.numpy(), images.images)
    assert resident.pixels(decoded(images, 1), CPU) is kept


def test_the_same_photos_in_other_pixels_are_another_set(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = ResidentImages()
    monkeypatch.setattr(module, "free_bytes", lambda device: 2**30)
    first = resident.pixels(decoded(images, 1), CPU)
    other = ImageSet(images.listing, 255 - images.images)
    second = resident.pixels(decoded(other, 2), CPU)
    assert first is not None
    assert second is not None
    assert np.array_equal(second.numpy(), 255 - first.numpy())
    assert resident.pixels(other, CPU) is None  # from no file of the cache


def test_a_set_that_takes_over_half_of_what_is_free_does_not(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = ResidentImages()
    monkeypatch.setattr(module, "free_bytes", lambda device: 2 * 7 * 48 - 1)
    assert resident.pixels(decoded(images, 1), CPU) is None


_FIFTY_THOUSAND = """
import sys
from pathlib import Path
import torch
from bench.data.feed import ResidentImages, feed
from bench.machine.device import Device
from bench.measure.evaluate import evaluate
from bench.machine.memory import peak_memory_bytes
from bench.machine.memory import reset_peak_memory
from bench.speed.evaluation import synthetic
from bench.tasks.classification import Classification
from models.preprocessing import Preprocessing

images = synthetic(50_000, 224, Path(sys.argv[1]))
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 32, stride=32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
)
preprocessing = Preprocessing(224, 256, "bilinear", (0.5,) * 3, (0.5,) * 3)
cpu = torch.device("cpu")
reset_peak_memory(cpu)
before = peak_memory_bytes(cpu)
pixels = feed(images, cpu, ResidentImages())
device = Device(cpu, batch_size=50)
found = evaluate(network, pixels, preprocessing, device, lambda *_: None, Classification())
assert len(found.items.top1) == 50_000
print(peak_memory_bytes(cpu) - before)
"""


@pytest.mark.slow
def test_fifty_thousand_images_take_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FIFTY_THOUSAND, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.5 * 2**30


def test_training_images_are_the_same_from_the_device_and_from_the_file(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices = torch.tensor([6, 0, 3, 3])
    wanted = images.images[[6, 0, 3, 3]]
    for free in (2 * 7 * 48, 2 * 7 * 48 - 1):
        monkeypatch.setattr(module, "free_bytes", lambda device, free=free: free)
        monkeypatch.setattr(module, "_UPLOAD", 3)
        got = feed_training(images, CPU)(indices)
        assert got.dtype == torch.uint8
        assert got.is_contiguous()  # some kernels round otherwise for other layouts
        assert np.array_equal(got.numpy(), wanted)


def test_training_images_that_fit(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 4 * 7 * 48)
    assert [fits_on(CPU, images, processes) for processes in (1, 2, 3)] == [True, True, False]
    assert fits_on(torch.device("cuda"), images, 3)  # each has a GPU of its own
    monkeypatch.setattr(module, "free_bytes", lambda device: 2 * 7 * 48 - 1)
    assert not fits_on(torch.device("cuda"), images, 1)
