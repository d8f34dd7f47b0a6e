"""Images are checked when they are first read, and only then."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from bench.data import DamagedImages, ImageSet, Listing
from bench.data.imageset import CheckedImages, Checks
from bench.files.entry import CacheEntry
from bench.files.kinds import DATA
from tests.spy import calls_of

ENTRY = CacheEntry(Path("cache"), DATA, "0" * 64)


def image_set(damaged: tuple[int, ...] = ()) -> ImageSet:
    """Seven images of 2 x 2; the checksums of some are not theirs."""
    stored = np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), dtype=np.uint8)
    crc32 = np.array([zlib.crc32(image) for image in stored], dtype=np.uint32)
    crc32[list(damaged)] ^= 1
    names = tuple(f"a/{i}" for i in range(7))
    listing = Listing("toy", "eval", names, np.zeros(7, np.int64), 1, "fingerprint", "stamp")
    checks = Checks(ENTRY, (1, 2, 3), crc32, np.zeros(7, bool))
    return ImageSet(listing, stored.transpose(0, 3, 1, 2), checks)


@pytest.mark.parametrize("which", [slice(2, 5), slice(None), slice(5, 99), np.array([6, 0, 3])])
def test_whole_images_are_given_and_noted(which: slice | np.ndarray) -> None:
    images = image_set()
    np.testing.assert_array_equal(images.pixels(which), images.images[which])
    assert images.checks is not None
    np.testing.assert_array_equal(
        np.flatnonzero(images.checks.right), np.unique(np.arange(7)[which])
    )


def test_a_damaged_image_is_named_when_it_is_read() -> None:
    images = image_set(damaged=(4,))
    images.pixels(slice(0, 4))
    images.pixels(np.array([5, 6]))
    for which in (slice(4, 5), slice(None), np.array([0, 4])):
        with pytest.raises(DamagedImages) as error:
            images.pixels(which)
        assert str(error.value) == (
            f"decoded image 'a/4' in {ENTRY.path} is damaged; remove '{ENTRY.path}' and run again"
        )
        assert error.value.identity == (1, 2, 3)


def test_each_image_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images, sums = image_set(), calls_of(monkeypatch, zlib, "crc32")
    images.pixels(slice(0, 4))
    images.pixels(slice(2, 6))
    images.pixels(slice(None))
    assert len(sums) == 7


def test_images_from_nowhere_are_given_as_they_are() -> None:
    images = image_set(damaged=(0,))
    unchecked = ImageSet(images.listing, images.images)
    np.testing.assert_array_equal(unchecked.pixels(slice(None)), images.images)


def test_what_was_found_right_is_known_when_a_file_is_opened_again() -> None:
    checked = CheckedImages()
    right = checked.of((1, 2, 3), 7)
    assert not right.any()
    right[2] = True
    assert np.flatnonzero(checked.of((1, 2, 3), 7)).tolist() == [2]
    assert not checked.of((1, 2, 4), 7).any()  # written since
    assert not CheckedImages().of((1, 2, 3), 7).any()
