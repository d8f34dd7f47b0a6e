"""Decoded images in memory, or mapped from a file and checked as they are read."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.listing import Labels, Listing
from models.errors import BenchError

Pixels = npt.NDArray[np.uint8]
Indices = slice | npt.NDArray[np.int64]
Identity = tuple[int, int, int]


class DamagedImages(BenchError):
    """An entry of the cache is not what was written there.

    what: it in words, without what to do. folder: the entry. identity: that of the file that was
    read, so that a whole one that has come since can be told from it.
    """

    def __init__(self, what: str, folder: Path, identity: Identity) -> None:
        super().__init__(f"{what}; remove {str(folder)!r} and run again")
        self.what, self.folder, self.identity = what, folder, identity


@dataclass(frozen=True, eq=False)
class Checks:
    """What says whether images in a file are as they were written.

    crc32: (N,) uint32 of each image's bytes in the file. CRC-32 finds each burst of up to 32 bits
        and misses one in 4e9 of other changes; zlib computes it at about 4 GB/s.
    good: (N,) bool, which of them this process has found right; filled in as they are read.
    """

    folder: Path
    identity: Identity
    crc32: npt.NDArray[np.uint32]
    good: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A decoded `Listing`.

    images: (N, 3, size, size), read-only and memory-mapped; channels last in memory. They are read
        through `pixels`, which checks them.
    checks: None for images that come from no file.
    """

    listing: Listing
    images: Pixels
    checks: Checks | None = None

    @property
    def labels(self) -> Labels:
        """(N,) int64."""
        return self.listing.labels

    def __len__(self) -> int:
        return len(self.listing)

    def pixels(self, which: Indices) -> Pixels:
        """Return the images of a slice (not copied) or of indices, (n, 3, size, size).

        Each image is checked when this process reads it first.
        Raises DamagedImages for one that is not as it was written.
        """
        if self.checks is not None:
            if isinstance(which, slice):
                self._check(self.checks, np.arange(*which.indices(len(self))))
            else:
                self._check(self.checks, which)
        return self.images[which]

    def _check(self, checks: Checks, wanted: npt.NDArray[np.int64]) -> None:
        for i in wanted[~checks.good[wanted]]:
            if zlib.crc32(self.images[i].transpose(1, 2, 0)) != checks.crc32[i]:
                raise DamagedImages(
                    f"decoded image {self.listing.files[i]!r} in {checks.folder} is damaged",
                    checks.folder,
                    checks.identity,
                )
            checks.good[i] = True
