"""Decoded images in memory, or mapped from a file and checked as they are read."""

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.listing import Labels, Listing
from bench.files.entry import CacheEntry
from models.clips import COLOURS
from models.errors import BenchError

Pixels = npt.NDArray[np.integer[Any]]
"""Of images uint8, of texts the ids of words, int32."""


class Stored(NamedTuple):
    """Of one image, or text, in a file: its shape, channels last, and the type of its numbers."""

    shape: tuple[int, ...]
    type: str


Indices = slice | npt.NDArray[np.int64]
Identity = tuple[int, int, int]


class DamagedImages(BenchError):
    """An entry of the cache is not what was written there.

    what: it in words, without what to do. identity: that of the file that was read, so that a
    whole one that has come since can be told from it.
    """

    def __init__(self, what: str, entry: CacheEntry, identity: Identity) -> None:
        super().__init__(f"{what}; remove {str(entry.path)!r} and run again")
        self.what, self.entry, self.identity = what, entry, identity


class CheckedImages:
    """Which images of decoded sets were found right, so that each is checked once."""

    def __init__(self) -> None:
        self._right: dict[Identity, npt.NDArray[np.bool_]] = {}

    def of(self, identity: Identity, count: int) -> npt.NDArray[np.bool_]:
        """Return (count,) of the set in a file, to be filled in as its images are checked."""
        return self._right.setdefault(identity, np.zeros(count, dtype=bool))


@dataclass(frozen=True, eq=False)
class Checks:
    """What says whether images in a file are as they were written.

    crc32: (N,) uint32 of each image's bytes in the file. CRC-32 finds each burst of up to 32 bits
        and misses one in 4e9 of other changes; zlib computes it at about 4 GB/s.
    right: (N,) bool, which of them were found right; filled in as they are read.
    """

    entry: CacheEntry
    identity: Identity
    crc32: npt.NDArray[np.uint32]
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A decoded `Listing`.

    images: (N, 3, size, size), read-only and memory-mapped; channels last in memory. Of clips they
        have the channels of all frames; of texts they are rows of ids (N, words). They are read
        through `pixels`, which checks them.
    checks: None for images that come from no file.
    """

    listing: Listing
    images: Pixels
    checks: Checks | None = None

    @property
    def stored(self) -> Stored:
        """How one of them lies in the file."""
        return Stored(channels_last(self.images).shape[1:], self.images.dtype.str)

    @property
    def labels(self) -> Labels:
        """(N,) int64."""
        return self.listing.labels

    def __len__(self) -> int:
        return len(self.listing)

    def pixels(self, which: Indices) -> Pixels:
        """Return those of a slice (not copied) or of indices, (n, 3, size, size) or (n, words).

        Each image is checked when it is read first: see `CheckedImages`.
        Raises DamagedImages for one that is not as it was written.
        """
        if self.checks is not None:
            if isinstance(which, slice):
                self._check(self.checks, np.arange(*which.indices(len(self))))
            else:
                self._check(self.checks, which)
        return self.images[which]

    def frames(self, which: npt.NDArray[np.int64]) -> Pixels:
        """Return single images for calibration, (n, 3, size, size): of a clip one of its frames.

        The first clip gives the frame in the middle of its first segment, the second that of its
        second, and so on.
        Raises as `pixels`.
        """
        whole, clip = self.pixels(which), self.listing.clip
        if clip is None:
            return whole
        segments = np.arange(len(whole)) % clip.segments
        frames = segments * clip.candidates + clip.candidates // 2
        channels = COLOURS * frames[:, None] + np.arange(COLOURS)
        return whole[np.arange(len(whole))[:, None], channels]

    def _check(self, checks: Checks, indices: npt.NDArray[np.int64]) -> None:
        for i in indices[~checks.right[indices]]:
            if zlib.crc32(channels_last(self.images[i : i + 1])[0]) != checks.crc32[i]:
                raise DamagedImages(
                    f"decoded image {self.listing.files[i]!r} in {checks.entry.path} is damaged",
                    checks.entry,
                    checks.identity,
                )
            checks.right[i] = True


def channels_first(stored: Pixels) -> Pixels:
    """Return images as they lie in a file, (N, H, W, 3), as (N, 3, H, W), and rows as they are."""
    return stored.transpose(0, 3, 1, 2) if stored.ndim == 4 else stored


def channels_last(images: Pixels) -> Pixels:
    """Return images (N, 3, H, W) as they lie in a file, (N, H, W, 3), and rows as they are."""
    return images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
